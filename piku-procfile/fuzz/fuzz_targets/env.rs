//! Any bytes are a valid ENV file or give readable errors. A valid file that is printed and parsed again has
//! the same variables.

#![no_main]

use indexmap::IndexMap;
use libfuzzer_sys::fuzz_target;
use piku_procfile::env::EnvFile;
use piku_procfile::procfile::ParseOptions;

fuzz_target!(|text: &[u8]| {
    let platform = IndexMap::from([("PORT".to_owned(), "5000".to_owned())]);
    for piku_compat in [false, true] {
        match EnvFile::parse(text, &platform, ParseOptions { strict: false, piku_compat }) {
            Ok(env) => {
                let again = EnvFile::parse(env.to_text().as_bytes(), &platform, ParseOptions::default())
                    .expect("parses again");
                assert_eq!(again.vars, env.vars);
                assert!(again.warnings.is_empty());
            }
            Err(errors) => {
                let message = errors.to_string();
                assert!(message.starts_with("ENV:") && message.len() < 20_000);
                assert!(message.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }
    }
});
