//! Any bytes are the manifest of a received release, or are refused with a readable error; what is taken
//! mounts nothing, runs nowhere and sets nothing that a push could not.

#![no_main]

use std::path::PathBuf;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use piku_release::architecture::ReleaseArchitecture;
use piku_release::received::{LocalFacts, ReceivedManifest};
use piku_release::manifest::{BuiltRelease, ReleaseOrigin};

fuzz_target!(|text: &[u8]| {
    let homes = [PathBuf::from("/opt/rubies/3.2.2")];
    let here = LocalFacts {
        number: 12,
        via: Some("builder"),
        architecture: &ReleaseArchitecture::Any,
        native: None,
        has_profile: false,
        homes: &homes,
        may_be_unjailed: false,
        now: Timestamp::UNIX_EPOCH,
    };
    let made = ReceivedManifest::parse(text).and_then(|manifest| manifest.into_release(&here));
    match made {
        Ok(release) => {
            assert!(release.jailed && !release.profile && release.kept.is_empty());
            assert_eq!((release.number, release.origin, release.tree_of), (12, ReleaseOrigin::Deploy, None));
            assert!(release.at <= here.now);
            assert!(release.host.iter().all(|home| homes.contains(home)));
            for layer in &release.layers {
                let mount = layer.mount.to_str().expect("text");
                let below = mount.strip_prefix("/layers/").or_else(|| mount.strip_prefix("/app/"));
                assert!(below.is_some_and(|below| !["", ".", ".."].contains(&below) && !below.contains('/')));
            }
            for shown in [&release.subject, &release.by, &release.runtime] {
                assert!(!shown.chars().any(char::is_control));
            }
            let again = serde_yaml::to_string(&release).expect("can be written");
            assert_eq!(serde_yaml::from_str::<BuiltRelease>(&again).expect("can be read"), release);
        }
        Err(err) => {
            let said = format!("{err:#}");
            assert!(said.len() < 2000 && !said.chars().any(char::is_control), "{said:?}");
        }
    }
});
