//! What libvirt calls a machine's cgroup: the domain's name as far as it can be a host name.
//!
//! The machine `Win 11 (CAD)` with the id 3 is `qemu-3-Win11CAD`. Of the name only ASCII letters, digits, `-` and
//! `.` are left; of several `-` and `.` in a row the first, none at the beginning and none at the end; and the
//! whole, with what stands before, has at most 64 characters (`virDomainDriverGenerateMachineName` in libvirt's
//! `src/hypervisor/domain_driver.c`).

/// The most characters of a machine's name, what stands before the domain's included.
const LONGEST: usize = 64;

/// What may stand in the cgroup's name for a domain's. Older versions take a dropped character for the end
/// of a row of `-` and `.`, so a name like `a-(-b` has two forms.
pub(super) fn of(driver: &str, id: u32, name: &str) -> Vec<String> {
    let room = LONGEST.saturating_sub(format!("{driver}-{id}-").len());
    let newer = shorten(name, room, false);
    let older = shorten(name, room, true);
    let mut names = vec![newer];
    if older != names[0] {
        names.push(older);
    }
    // Nothing is left of a name in another script: the cgroup has none, and no rule finds one.
    names.retain(|name| !name.is_empty());
    names
}

fn shorten(name: &str, room: usize, dropped_ends_row: bool) -> String {
    let mut short = String::new();
    let mut in_row = true;
    for one in name.chars() {
        if short.len() >= room {
            break;
        }
        match one {
            '-' | '.' if in_row => {}
            '-' | '.' => {
                short.push(one);
                in_row = true;
            }
            _ if one.is_ascii_alphanumeric() => {
                short.push(one);
                in_row = false;
            }
            _ if dropped_ends_row => in_row = false,
            _ => {}
        }
    }
    short.truncate(short.trim_end_matches(['-', '.']).len());
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt 9.0 named the cgroups of machines with these names and ids.
    #[test]
    fn names_are_shortened_as_libvirt_does() {
        let long = "averyverylongnamethatgoesbeyondthelimitofsixtyfourcharacters-and-more-of-it";
        for (id, name, short) in [
            (1, "Win 11 (CAD)", "Win11CAD"),
            (2, "a-(-b", "a-b"),
            (3, ".x--y..z-", "x-y.z"),
            (4, "ünïcode", "ncode"),
            (5, long, &long[..57]),
        ] {
            assert_eq!(of("qemu", id, name)[0], short, "{name}");
        }
        assert_eq!(of("qemu", 6, "日本"), [""; 0]);
    }

    #[test]
    fn both_forms_are_there_where_versions_differ() {
        assert_eq!(of("qemu", 2, "a-(-b"), ["a-b", "a--b"]);
        assert_eq!(of("qemu", 2, "cad-ada"), ["cad-ada"]);
    }

    #[test]
    fn a_longer_id_leaves_less_room() {
        let name = "x".repeat(80);
        assert_eq!(of("qemu", 12345, &name)[0].len(), 64 - "qemu-12345-".len());
        // A row that ends where the cut is.
        let name = format!("{}-yy", "x".repeat(56));
        assert_eq!(of("qemu", 1, &name)[0], "x".repeat(56));
    }
}
