//! Any bytes are a Procfile, or are refused with readable errors; what is taken, rendered and parsed again is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use piku_procfile::command;
use piku_procfile::procfile::{Options, Procfile};

fuzz_target!(|text: &[u8]| {
    for (strict, piku_compat) in [(false, false), (true, false), (false, true)] {
        let options = Options { strict, piku_compat };
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
                let said = errors.to_string();
                assert!(said.starts_with("Procfile:") && said.len() < 20_000);
                assert!(said.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }
    }
});
