//! Any bytes are an ENV file, or are refused with readable errors; what is taken, printed and parsed again is the same.

#![no_main]

use indexmap::IndexMap;
use libfuzzer_sys::fuzz_target;
use piku_procfile::env::Env;
use piku_procfile::procfile::Options;

fuzz_target!(|text: &[u8]| {
    let platform = IndexMap::from([("PORT".to_owned(), "5000".to_owned())]);
    for piku_compat in [false, true] {
        match Env::parse(text, &platform, Options { strict: false, piku_compat }) {
            Ok(env) => {
                let again = Env::parse(env.to_text().as_bytes(), &platform, Options::default())
                    .expect("parses again");
                assert_eq!(again.vars, env.vars);
                assert!(again.warnings.is_empty());
            }
            Err(errors) => {
                let said = errors.to_string();
                assert!(said.starts_with("ENV:") && said.len() < 20_000);
                assert!(said.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }
    }
});
