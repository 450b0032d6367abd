//! A status file of libvirt: `<domstatus>` with the `<domain>` in it.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use crate::discover::platform::{EndReason, Facts, Named, PlatformPhase};

/// Name space of metadata that are for this agent.
const OWN: &str = "urn:sessionscope";
/// Those of libosinfo, which virt-manager, virt-install and others write.
const LIBOSINFO: &str = "http://libosinfo.org/xmlns/libvirt/domain/1.0";
/// Those of `OpenStack`, followed by a version.
const NOVA: &str = "http://openstack.org/xmlns/libvirt/nova/";
/// What roxmltree compares one by one, attributes with all of their element and name spaces with all around them.
/// libvirt writes some hundred of the first, for the largest machines some thousand, and a few of the second.
const MOST_ATTRIBUTES: usize = 1 << 14;
const MOST_NAME_SPACES: usize = 256;

/// A machine as its file has it.
#[derive(Debug)]
pub(super) struct Domain {
    /// Driver and id, with which the name of its cgroup begins (`virDomainDriverGenerateMachineName` in libvirt's
    /// `src/hypervisor/domain_driver.c`): `qemu-3`.
    pub(super) key: String,
    /// Its first process.
    pub(super) pid: Option<i32>,
    /// All but when it was started, which the file does not say.
    pub(super) facts: Facts,
}

impl Domain {
    /// The machine of a file; an error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        for (what, sign, most) in [
            ("attributes", "=", MOST_ATTRIBUTES),
            ("name spaces", "xmlns", MOST_NAME_SPACES),
        ] {
            if text.matches(sign).count() > most {
                return Err(format!("it has more than {most} {what}"));
            }
        }
        // Neither libvirt nor its users have a use for a document type, which could make a short text long.
        let document = Document::parse(text)
            // It may repeat the end of a line.
            .map_err(|error| error.to_string().replace(char::is_control, " "))?;
        let status = document.root_element();
        if !status.has_tag_name("domstatus") {
            return Err("its root is no <domstatus>".to_owned());
        }
        let domain = child(status, "domain").ok_or("it has no <domain>")?;
        let name = text_of(domain, "name").ok_or("its <domain> has no <name>")?;
        let id: u32 = domain
            .attribute("id")
            .and_then(|id| id.parse().ok())
            .ok_or("its <domain> has no id, as one that runs has")?;
        let state = status.attribute("state").unwrap_or_default();
        let reason = status.attribute("reason").unwrap_or_default();
        Ok(Self {
            key: format!("{}-{id}", driver(domain)),
            pid: status.attribute("pid").and_then(|pid| pid.parse().ok()),
            facts: Facts {
                is_session: true,
                phase: phase(state, reason),
                end: (state == "crashed").then_some(EndReason::Error),
                details: details(domain, state, reason),
                ..names(domain, &name)
            },
        })
    }
}

/// What libvirt calls the driver, by the type of its domains: `kvm` and others are qemu's.
fn driver(domain: Node<'_, '_>) -> &'static str {
    match domain.attribute("type") {
        Some("lxc") => "lxc",
        _ => "qemu",
    }
}

/// Where a machine is in its life by the names of libvirt's states.
fn phase(state: &str, reason: &str) -> Option<PlatformPhase> {
    match (state, reason) {
        ("paused", "starting up") => Some(PlatformPhase::Starting),
        // One that is paused is there to go on with.
        ("running" | "blocked" | "paused" | "pmsuspended", _) => Some(PlatformPhase::Running),
        ("shutdown" | "shutoff" | "crashed", _) => Some(PlatformPhase::Terminating),
        _ => None,
    }
}

/// Names by the most telling of its metadata.
fn names(domain: Node<'_, '_>, name: &str) -> Facts {
    let metadata = child(domain, "metadata");
    let own = find(metadata, |space| space == OWN, "session");
    let said = |attribute| {
        let value = own.and_then(|own| own.attribute(attribute));
        Named::new(value?.trim(), "sessionscope metadata")
    };
    let nova = find(metadata, |space| space.starts_with(NOVA), "instance");
    let nova_says = |name: Option<String>| Named::new(name?, "OpenStack metadata");
    let nova_text = |nova, name| nova_says(text_of(nova, name));
    let own_name = Named::new(name, "libvirt domain");
    Facts {
        session: said("name")
            .or_else(|| nova_text(nova?, "name"))
            .or_else(|| own_name.clone()),
        unique: own_name,
        namespace: said("namespace").or_else(|| nova_text(child(nova?, "owner")?, "project")),
        // Not the title: it is one machine's.
        template: said("template")
            .or_else(|| {
                let flavor = child(nova?, "flavor")?.attribute("name");
                nova_says(flavor.map(str::to_owned))
            })
            .or_else(|| {
                let os = find(metadata, |space| space == LIBOSINFO, "os")?;
                Named::new(short_os(os.attribute("id")?), "libosinfo metadata")
            }),
        // Not OpenStack's: its user is who made the machine, for most the platform itself.
        user: said("user"),
        ..Facts::default()
    }
}

/// What libosinfo calls an operating system for short: `win11` for `http://microsoft.com/win/11`.
fn short_os(id: &str) -> String {
    let mut parts = id.trim_end_matches('/').rsplit('/');
    let (version, system) = (parts.next(), parts.next());
    match (system, version) {
        // `http://archlinux.org/archlinux/rolling`
        (Some(system), Some("rolling")) => system.to_owned(),
        // `http://libosinfo.org/unknown`
        (Some(host), Some(name)) if host.contains('.') => name.to_owned(),
        (Some(system), Some(version)) => format!("{system}{version}"),
        _ => id.to_owned(),
    }
}

fn details(domain: Node<'_, '_>, state: &str, reason: &str) -> BTreeMap<&'static str, String> {
    let vcpus = child(domain, "vcpu").and_then(|vcpu| {
        let current = vcpu.attribute("current").or(vcpu.text());
        Some(current?.trim().to_owned())
    });
    let state = match (state, reason) {
        ("running" | "", _) => None,
        (state, "" | "unknown") => Some(state.to_owned()),
        (state, reason) => Some(format!("{state} ({reason})")),
    };
    let found = [
        ("uuid", text_of(domain, "uuid")),
        ("title", text_of(domain, "title")),
        ("vcpus", vcpus),
        ("memory", child(domain, "memory").and_then(memory)),
        ("state", state),
    ];
    let found = found
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    found.collect()
}

/// For people: libvirt writes a running machine's in KiB.
fn memory(element: Node<'_, '_>) -> Option<String> {
    let count: u64 = element.text()?.trim().parse().ok()?;
    let unit = element.attribute("unit").unwrap_or("KiB");
    Some(match (unit, count) {
        ("KiB", kib) if kib >= 1 << 20 && kib.is_multiple_of(1 << 20) => {
            format!("{} GiB", kib >> 20)
        }
        ("KiB", kib) => format!("{} MiB", kib >> 10),
        _ => format!("{count} {unit}"),
    })
}

fn child<'a, 'input>(parent: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    let mut elements = parent.children().filter(Node::is_element);
    elements.find(|element| element.tag_name().name() == name)
}

/// The text of a child, unless it is empty.
fn text_of(parent: Node<'_, '_>, name: &str) -> Option<String> {
    let text = child(parent, name)?.text()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// An element of the metadata by its name space.
fn find<'a, 'input>(
    metadata: Option<Node<'a, 'input>>,
    is_space: impl Fn(&str) -> bool,
    name: &str,
) -> Option<Node<'a, 'input>> {
    metadata?.descendants().find(|element| {
        let tag = element.tag_name();
        tag.name() == name && tag.namespace().is_some_and(&is_space)
    })
}
