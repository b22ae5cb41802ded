-- Removes all that the app has in its database; the first statements of a restore.
DO $$ DECLARE own name; large oid; BEGIN
    FOR own IN SELECT nspname FROM pg_namespace WHERE nspowner = current_user::regrole OR nspname = 'public' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', own);
    END LOOP;
    -- Large objects are in no schema.
    FOR large IN SELECT oid FROM pg_largeobject_metadata WHERE lomowner = current_user::regrole LOOP
        PERFORM lo_unlink(large);
    END LOOP;
END $$;
CREATE SCHEMA public;
