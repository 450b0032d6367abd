//! The system calls that give capabilities up.

use rustix::{io, thread};

use super::{CAP_SETPCAP, Capabilities, Condition, Node, bounding, kept};

/// Gives up what is not needed any more, of the calling thread and of those that it makes from now on; what stays is
/// returned. An error says what could not be given up; the rest has been.
pub fn give_up(node: &Node) -> Result<Capabilities, String> {
    let sets = thread::capabilities(None).map_err(|error| format!("capget: {error}"))?;
    let held = Capabilities(sets.effective.bits());
    let kept = kept(held, node);
    let mut steps = Vec::new();
    // Without it, as under the unit, the set stays as whoever started the agent has drawn it.
    if held.has(CAP_SETPCAP) {
        steps.push(("bounding set", bound(bounding(held, node))));
    }
    // NVIDIA's library may run nvidia-modprobe, which is made to have more than who runs it. Where the bounding set stays,
    // that would be all that is in there.
    if !node.is(Condition::Gpus) || !held.has(CAP_SETPCAP) {
        steps.push(("no_new_privs", thread::set_no_new_privs(true)));
    }
    steps.push(("ambient set", thread::clear_ambient_capability_set()));
    let set = thread::CapabilitySet::from_bits_retain(kept.0);
    let sets = thread::CapabilitySets {
        effective: set,
        permitted: set,
        inheritable: thread::CapabilitySet::empty(),
    };
    steps.push(("capset", thread::set_capabilities(None, sets)));
    let failed = steps.into_iter().filter_map(|(step, result)| {
        let error = result.err()?;
        Some(format!("{step}: {error}"))
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() {
        Ok(kept)
    } else {
        Err(failed.join(", "))
    }
}

/// Takes all others out of the bounding set.
fn bound(wanted: Capabilities) -> io::Result<()> {
    for number in 0..u64::BITS {
        let one = thread::CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(one) {
            Ok(true) if wanted.0 >> number & 1 == 0 => {
                thread::remove_capability_from_bounding_set(one)?;
            }
            Ok(_) => {}
            // The kernel has no more (`cap_valid`, kernel/capability.c, Linux 5.10).
            Err(io::Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
