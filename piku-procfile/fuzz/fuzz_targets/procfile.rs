//! Any bytes are a valid Procfile or give readable errors. A valid file that is printed and parsed again has
//! the same entries.

#![no_main]

use libfuzzer_sys::fuzz_target;
use piku_procfile::command;
use piku_procfile::procfile::{ParseOptions, Procfile};

fuzz_target!(|text: &[u8]| {
    for (strict, piku_compat) in [(false, false), (true, false), (false, true)] {
        let options = ParseOptions { strict, piku_compat };
        match Procfile::parse(text, options) {
            Ok(procfile) => {
                let again = Procfile::parse(procfile.to_string().as_bytes(), options).expect("parses again");
                assert_eq!(again.to_string(), procfile.to_string());
                for entry in &procfile.entries {
                    let [_, _, text] = command::argv(&entry.command);
                    assert!(text.ends_with(&entry.command));
                }
            }
            Err(errors) => {
                let message = errors.to_string();
                assert!(message.starts_with("Procfile:") && message.len() < 20_000);
                assert!(message.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }
    }
});
