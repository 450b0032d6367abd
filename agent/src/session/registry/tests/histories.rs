//! Random histories of a node against what must hold after each of their steps.
//!
//! A history is some dozens of steps: cgroups are made and removed, renamed and looked at again, platforms speak,
//! processes come and go, time passes. The kernel side is that of the other tests, which finds the
//! nearest mark above a cgroup as the kernel does. `PROPTEST_CASES` says how many histories there are.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// So many sessions are measured at most: few, so that many wait.
const MOST: u32 = 6;

/// What a rule says of a cgroup.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A session by its cgroup, called so.
    Own(u8),
    /// One of a platform, by its id and its name.
    Platform(u8, u8),
    Part,
    Ignored,
    Held,
}

/// What a platform says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Lives,
    Leaves,
    Ended,
    Gone,
}

/// A step; what is numbered is taken modulo how many there are.
#[derive(Clone, Debug)]
enum Step {
    Make(usize, Kind),
    Remove(usize),
    Look(usize),
    Becomes(usize, Kind),
    Says(u8, Word),
    Populate(usize, bool),
    Full(bool),
    Sample(u64),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => (0..3_u8).prop_map(Kind::Own),
        3 => (0..4_u8, 0..3_u8).prop_map(|(id, name)| Kind::Platform(id, name)),
        2 => Just(Kind::Part),
        1 => Just(Kind::Ignored),
        1 => Just(Kind::Held),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let word = prop_oneof![
        3 => Just(Word::Lives),
        1 => Just(Word::Leaves),
        1 => Just(Word::Ended),
        1 => Just(Word::Gone),
    ];
    prop_oneof![
        6 => (any::<usize>(), kind()).prop_map(|(parent, kind)| Step::Make(parent, kind)),
        3 => any::<usize>().prop_map(Step::Remove),
        2 => any::<usize>().prop_map(Step::Look),
        2 => (any::<usize>(), kind()).prop_map(|(which, kind)| Step::Becomes(which, kind)),
        2 => (0..4_u8, word).prop_map(|(id, word)| Step::Says(id, word)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, one)| Step::Populate(which, one)),
        1 => prop::bool::weighted(0.2).prop_map(Step::Full),
        4 => prop_oneof![Just(100), Just(1_000), Just(3_000), Just(40_000)].prop_map(Step::Sample),
    ]
}

#[derive(Clone, Debug)]
struct Made {
    id: u64,
    parent: usize,
    kind: Kind,
    populated: bool,
}

/// A node and the registry that is told of it.
struct Node {
    registry: Registry,
    table: FakeTable,
    now: Instant,
    next_id: u64,
    /// The root comes first, and is no session.
    cgroups: Vec<Made>,
    words: HashMap<u8, Word>,
    ended: u64,
    /// The kernel has once had no room.
    was_full: bool,
    /// Nanoseconds since boot: the number of the step.
    boot_ns: u64,
    /// The last step was a sample.
    sampled: bool,
}

impl Node {
    fn new() -> Self {
        Self {
            registry: registry(MOST),
            table: FakeTable::default(),
            now: Instant::now(),
            next_id: 2,
            cgroups: vec![Made {
                id: 1,
                parent: 0,
                kind: Kind::Part,
                populated: false,
            }],
            words: HashMap::new(),
            ended: 0,
            was_full: false,
            boot_ns: 0,
            sampled: false,
        }
    }

    fn take(&mut self, step: &Step) {
        self.boot_ns += 1;
        self.sampled = false;
        match *step {
            Step::Make(parent, kind) => self.make(parent % self.cgroups.len(), kind),
            Step::Remove(which) => self.remove(which),
            Step::Look(which) => self.look_below(which % self.cgroups.len()),
            Step::Becomes(which, kind) => {
                let which = which % self.cgroups.len();
                if which > 0 {
                    self.cgroups[which].kind = kind;
                    self.look_below(which);
                }
            }
            Step::Says(id, word) => {
                self.words.insert(id, word);
                let of_it: Vec<usize> = (0..self.cgroups.len())
                    .filter(|&at| matches!(self.cgroups[at].kind, Kind::Platform(i, _) if i == id))
                    .collect();
                for at in of_it {
                    self.look_below(at);
                }
            }
            Step::Populate(which, populated) => {
                let which = which % self.cgroups.len();
                self.cgroups[which].populated = populated;
                let birth = self.table.births.get_mut(&self.cgroups[which].id);
                if let Some(birth) = birth.filter(|b| populated && b.first_process_ns == 0) {
                    birth.first_process_ns = self.boot_ns;
                }
            }
            Step::Full(full) => {
                self.table.full = full;
                self.was_full |= full;
            }
            Step::Sample(ms) => self.sample(ms),
        }
        self.registry.publish(&mut self.table);
    }

    fn make(&mut self, parent: usize, kind: Kind) {
        let id = self.next_id;
        self.next_id += 1;
        self.table.parents.insert(id, self.cgroups[parent].id);
        let birth = CgroupBirth {
            made_ns: self.boot_ns,
            first_process_ns: 0,
        };
        self.table.births.insert(id, birth);
        self.cgroups.push(Made {
            id,
            parent,
            kind,
            populated: false,
        });
        self.look(self.cgroups.len() - 1);
    }

    /// Removes the last cgroup below the chosen one, or itself.
    fn remove(&mut self, which: usize) {
        let mut at = which % self.cgroups.len();
        if at == 0 {
            return;
        }
        while let Some(child) = (at + 1..self.cgroups.len()).find(|&c| self.cgroups[c].parent == at)
        {
            at = child;
        }
        let gone = self.cgroups.remove(at);
        for cgroup in &mut self.cgroups[at..] {
            cgroup.parent -= usize::from(cgroup.parent > at);
        }
        self.registry.vanish(gone.id, self.now);
    }

    fn look_below(&mut self, which: usize) {
        let mut below = vec![which];
        for at in which + 1..self.cgroups.len() {
            if below.contains(&self.cgroups[at].parent) {
                below.push(at);
            }
        }
        for at in below {
            self.look(at);
        }
    }

    fn look(&mut self, at: usize) {
        let Made {
            id, parent, kind, ..
        } = self.cgroups[at];
        let verdict = self.verdict(kind);
        let found = found(id, self.cgroups[parent].id, "/x");
        let (table, now) = (&mut self.table, self.now);
        self.registry.appear(&found, verdict, || None, table, now);
    }

    fn verdict(&self, kind: Kind) -> Verdict {
        match kind {
            Kind::Own(name) => Verdict::Session(identity(&format!("s{name}"))),
            Kind::Platform(id, name) => {
                let word = self.words.get(&id).copied();
                let identity = Identity {
                    platform: Some(PlatformKey::Pod(format!("uid-{id}"))),
                    source: word.map(|_| Source::Kubernetes),
                    ..identity(&format!("s{name}"))
                };
                if matches!(word, Some(Word::Ended | Word::Gone)) {
                    Verdict::Over(identity)
                } else {
                    Verdict::Session(identity)
                }
            }
            Kind::Part => Verdict::NotASession,
            Kind::Ignored => Verdict::Ignored,
            Kind::Held => Verdict::Held,
        }
    }

    fn sample(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        let words = &self.words;
        self.registry.take_platforms(|key| {
            let id = key.text().strip_prefix("uid-")?.parse().ok()?;
            let word = *words.get(&id)?;
            Some(Arc::new(Facts {
                is_session: true,
                phase: (word == Word::Leaves).then_some(PlatformPhase::Terminating),
                end: (word == Word::Ended).then_some(EndReason::Completed),
                gone: word == Word::Gone,
                ..Facts::default()
            }))
        });
        self.table.alive.clear();
        for cgroup in self.cgroups.iter().filter(|cgroup| cgroup.populated) {
            if let Some(slot) = self.table.slot(cgroup.id) {
                *self.table.alive.entry(slot).or_default() += 1;
            }
        }
        self.registry.sample(&mut self.table, self.now);
        self.sampled = true;
    }

    /// The slot that a cgroup must have: that of the nearest session above, if nothing in between is nobody's. Where
    /// the kernel had no room to be told of that, it is the session's all the same.
    fn slot_of(&self, mut at: usize) -> Option<Slot> {
        let r = &self.registry;
        loop {
            let Made { id, parent, .. } = self.cgroups[at];
            let is_nobodys = r.ignored.contains(&id) || r.waiting.contains(&id);
            if r.marks.get(&id) == Some(&NO_SESSION) || is_nobodys && !self.was_full {
                return None;
            }
            if let Some(member) = self.registry.memberships.get(&id) {
                return self.registry.sessions[&member.session].slot;
            }
            if at == 0 {
                return None;
            }
            at = parent;
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let r = &self.registry;
        let slots: Vec<Slot> = r.sessions.values().filter_map(|s| s.slot).collect();
        let distinct: HashSet<Slot> = slots.iter().copied().collect();
        prop_assert_eq!(slots.len(), distinct.len(), "two sessions share a slot");
        prop_assert!(r.live() <= MOST as usize);

        let mut members = 0;
        for (serial, session) in &r.sessions {
            prop_assert!(session.is_live() || session.cgroups.is_empty());
            prop_assert!(!session.is_live() || session.slot.is_some());
            prop_assert!(!session.is_live() || r.live.get(&session.origin) == Some(serial));
            for id in &session.cgroups {
                let root = session.roots.contains(id);
                let member = r.memberships.get(id);
                prop_assert_eq!(member.map(|m| (m.session, m.root)), Some((*serial, root)));
            }
            members += session.cgroups.len();
        }
        prop_assert_eq!(members, r.memberships.len(), "a member of no session");

        let mut shown: Vec<Labels> = r.sessions().map(Session::key).collect();
        shown.sort();
        let all = shown.len();
        shown.dedup();
        prop_assert_eq!(shown.len(), all, "two series of one name");

        for (at, cgroup) in self.cgroups.iter().enumerate() {
            let slot = self.table.slot(cgroup.id);
            prop_assert_eq!(slot, self.slot_of(at), "cgroup {}", cgroup.id);
        }
        prop_assert_eq!(&r.marks, &self.table.pending);
        // Each session has its first process once, and as soon as a sample can tell.
        let starts = r.startup.iter();
        let starts = starts.filter(|((.., milestone), _)| *milestone == Milestone::FirstProcess);
        let observed: u64 = starts.map(|(_, histogram)| histogram.count()).sum();
        prop_assert!(observed < r.next_serial, "{} first processes", observed);
        for session in r
            .sessions
            .values()
            .filter(|s| self.sampled && s.slot.is_some())
        {
            let births = session.cgroups.iter().map(|id| self.table.births[id]);
            let has_had = births.into_iter().any(|b| b.first_process_ns != 0);
            let known = session.milestones.contains_key(&Milestone::FirstProcess);
            prop_assert!(known || !has_had, "a first process is not observed");
        }
        let ended: u64 = r.ended.values().map(|ended| ended.count).sum();
        prop_assert!(ended >= self.ended, "ends are taken back");
        self.ended = ended;
        Ok(())
    }

    /// Everything goes, and time passes: nothing may be left, and each session has ended once.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        while self.cgroups.len() > 1 {
            self.remove(1);
        }
        for _ in 0..4 {
            self.sample(40_000);
        }
        let r = &self.registry;
        prop_assert!(
            r.sessions.is_empty(),
            "{} sessions are left",
            r.sessions.len()
        );
        let left = [
            r.memberships.len(),
            r.live.len(),
            r.labels.len(),
            r.ignored.len(),
            r.closed.len(),
            r.waiting.len(),
            r.overflowed.len(),
            r.expiring.len(),
            r.marks.len(),
        ];
        prop_assert_eq!(left, [0; 9]);
        prop_assert!(
            self.table.published.is_empty(),
            "{:?}",
            self.table.published
        );
        let free = std::iter::from_fn(|| self.registry.slots.take(|_| true)).count();
        prop_assert_eq!(free, slots_for(MOST) as usize - 1, "a slot is lost");
        prop_assert_eq!(self.ended_total(), self.registry.next_serial - 1);
        Ok(())
    }

    fn ended_total(&self) -> u64 {
        self.registry.ended.values().map(|ended| ended.count).sum()
    }
}

/// `PROPTEST_CASES`, else so many as take a second.
fn histories() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    let cases = asked.and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(5_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn whatever_happens_each_cgroup_is_of_one_session_and_each_session_ends_once(
        history in prop::collection::vec(step(), 1..80)
    ) {
        let mut node = Node::new();
        for (number, step) in history.iter().enumerate() {
            node.take(step);
            let checked = node.check();
            if let Err(error) = checked {
                let mut told = String::new();
                for step in &history[..=number] {
                    let _ = writeln!(told, "{step:?}");
                }
                return Err(TestCaseError::fail(format!("{error}, after\n{told}")));
            }
        }
        node.finish()?;
    }
}
