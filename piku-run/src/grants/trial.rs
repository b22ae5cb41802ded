//! A trial of granted paths in a jail like the app's: only the kernel knows all that decides over access,
//! such as access control lists.

use std::process::Stdio;

use anyhow::{Context, ensure};
use piku_chroot::jail::JailSpec;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::AppUsers;

use super::policy::RUN;
use super::{GrantKind, ResolvedGrant};

/// Access that a process of the app has to a granted path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TriedAccess {
    Full,
    ReadOnly,
    None,
}

/// Prints the access to each argument on a line. Of a directory, it is the access to a device or socket in
/// it, if it has any.
const SCRIPT: &str = r#"
for path; do
    access=none
    if [ -d "$path" ]; then
        if [ -r "$path" ] && [ -x "$path" ]; then
            access=read
            [ ! -w "$path" ] || access=full
            for entry in "$path"/* "$path"/.[!.]*; do
                [ -S "$entry" ] || [ -c "$entry" ] || [ -b "$entry" ] || continue
                access=none
                if [ -w "$entry" ]; then access=full; break; fi
            done
        fi
    elif [ -w "$path" ] && { [ -S "$path" ] || [ -r "$path" ]; }; then
        access=full
    elif [ -r "$path" ]; then
        access=read
    fi
    echo $access
done
"#;

/// Tries the access of an app to each path.
pub(crate) fn try_access(
    root: &PikuRoot,
    app: &AppName,
    users: AppUsers,
    grants: &[ResolvedGrant],
) -> anyhow::Result<Vec<TriedAccess>> {
    let mut jail = JailSpec::new();
    if users == AppUsers::Own {
        jail = jail.own_user(app.as_str(), &root.uid_ranges());
    }
    for grant in grants {
        jail = grant.add_to(jail);
        jail = grant.lent_groups(users).fold(jail, |jail, group| jail.group(group.gid.as_raw()));
    }
    let mut argv = ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).to_vec();
    argv.extend(grants.iter().map(|grant| grant.granted.path().display().to_string()));
    let no_variables: [(&str, &str); 0] = [];
    let out = jail.command(no_variables, &argv).stdin(Stdio::null()).output().context("cannot run a jail")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let access: Vec<TriedAccess> = text
        .lines()
        .map(|line| match line {
            "full" => TriedAccess::Full,
            "read" => TriedAccess::ReadOnly,
            _ => TriedAccess::None,
        })
        .collect();
    let complaint = String::from_utf8_lossy(&out.stderr);
    ensure!(access.len() == grants.len(), "cannot try them in a jail: {}", complaint.trim_end());
    // To open a device or a socket, which may appear later, its directory need not be writable.
    let is_passage = |grant: &ResolvedGrant| {
        grant.is_folder && (grant.kind == GrantKind::Device || grant.source.starts_with(RUN))
    };
    let of = |(access, grant): (TriedAccess, &ResolvedGrant)| match access {
        TriedAccess::ReadOnly if is_passage(grant) => TriedAccess::Full,
        _ => access,
    };
    Ok(access.into_iter().zip(grants).map(of).collect())
}
