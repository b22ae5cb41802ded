//! Properties that hold for every tree and every path.

mod hostile;

use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_outside_is_read_or_written(bytes in vec(any::<u8>(), 0..600)) {
        hostile::play(&bytes);
    }
}
