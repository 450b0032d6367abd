//! The types of the running kernel ([`kernel_btf`]), and what must hold of a file of them.

pub use kernel_btf::*;

/// What a file has is an answer or an error. Asks for everything that the tests' sample has, and for what it has not.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(bytes: Vec<u8>) {
    let Ok(btf) = Btf::parse(bytes) else {
        return;
    };
    for structure in ["task", "info", "twin", "flags", "gone"] {
        for path in [
            "pid",
            "inner",
            "info.delay",
            "info.gone.x",
            "x",
            "bit",
            "",
            ".",
        ] {
            let found = btf.offset_of(structure, path);
            assert!(found.is_err() || btf.has_member(structure, path));
        }
    }
    for function in ["update", "inlined", ""] {
        let names = btf.parameters_of(function).unwrap_or_default();
        assert!(names.iter().all(|name| name.len() <= LONGEST_NAME));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{builder::sample, must_hold};
    use crate::fuzz::{self, bytes_like};

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_a_file_has_is_an_answer_or_an_error(bytes in bytes_like(&[&sample()])) {
            must_hold(bytes);
        }
    }

    #[test]
    fn no_byte_of_a_file_makes_it_more_than_an_answer_or_an_error() {
        let bytes = sample();
        for at in 0..bytes.len() {
            for byte in [
                0,
                1,
                0x7f,
                0x80,
                0xff,
                bytes[at] ^ 1,
                bytes[at].wrapping_add(1),
            ] {
                let mut changed = bytes.clone();
                changed[at] = byte;
                must_hold(changed);
            }
        }
    }
}
