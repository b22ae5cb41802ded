//! Variables that keep package managers and frameworks from calling home when a process of an app runs:
//! checks for new versions of themselves, and telemetry. Each is documented by its program, and the app's own
//! value of it overrides this one.

use crate::instance::environment::Vars;

/// Variables and values, by the programs that read them.
const OPT_OUTS: [(&str, &str); 25] = [
    // npm and pnpm; NO_UPDATE_NOTIFIER is for all programs with the package update-notifier.
    ("npm_config_update_notifier", "false"),
    ("npm_config_audit", "false"),
    ("npm_config_fund", "false"),
    ("pnpm_config_update_notifier", "false"),
    ("NO_UPDATE_NOTIFIER", "1"),
    ("DISABLE_OPENCOLLECTIVE", "true"),
    // Yarn 2 and newer, which refuse a variable YARN_… that they do not know; Yarn 1 checks only when it
    // installs.
    ("YARN_ENABLE_TELEMETRY", "0"),
    // Corepack; Deno.
    ("COREPACK_DEFAULT_TO_LATEST", "0"),
    ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
    ("DENO_NO_UPDATE_CHECK", "1"),
    // pip; Bundler and RubyGems.
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("BUNDLE_DISABLE_VERSION_CHECK", "true"),
    ("RUBYGEMS_PREVENT_UPDATE_SUGGESTION", "true"),
    // Frameworks.
    ("NEXT_TELEMETRY_DISABLED", "1"),
    ("NUXT_TELEMETRY_DISABLED", "1"),
    ("GATSBY_TELEMETRY_DISABLED", "1"),
    ("ASTRO_TELEMETRY_DISABLED", "1"),
    ("STORYBOOK_DISABLE_TELEMETRY", "1"),
    ("STRAPI_TELEMETRY_DISABLED", "true"),
    ("NG_CLI_ANALYTICS", "false"),
    ("TURBO_TELEMETRY_DISABLED", "1"),
    // Prisma; Streamlit; Gradio; all programs that follow consoledonottrack.com.
    ("CHECKPOINT_DISABLE", "1"),
    ("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false"),
    ("GRADIO_ANALYTICS_ENABLED", "False"),
    ("DO_NOT_TRACK", "1"),
];

/// Returns all of them.
pub(crate) fn variables() -> impl Iterator<Item = (String, String)> {
    OPT_OUTS.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Removes each that the app has set in another spelling: npm takes `NPM_CONFIG_AUDIT` and `npm_config_audit`
/// for the same, and the last one wins.
pub(crate) fn remove_overridden(vars: &mut Vars) {
    for (name, value) in OPT_OUTS {
        let is_ours = vars.get(name).is_some_and(|there| there == value);
        if is_ours && vars.keys().any(|other| other != name && other.eq_ignore_ascii_case(name)) {
            vars.shift_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_counts_as_the_same_variable() {
        let mut vars: Vars = variables().collect();
        vars.insert("NPM_CONFIG_AUDIT".to_owned(), "true".to_owned());
        remove_overridden(&mut vars);
        assert!(!vars.contains_key("npm_config_audit"));
        assert_eq!(vars.len(), OPT_OUTS.len());
        assert_eq!(vars["npm_config_fund"], "false");
    }
}
