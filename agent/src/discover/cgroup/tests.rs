//! Tests of the hierarchy, on folders that stand for it.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn paths(hierarchy: &Hierarchy) -> Vec<Vec<u8>> {
    let ids = hierarchy.in_order();
    let mut paths: Vec<_> = ids.iter().filter_map(|&id| hierarchy.path(id)).collect();
    paths.sort();
    paths
}

fn id(hierarchy: &Hierarchy, path: &[u8]) -> u64 {
    let ids = hierarchy.in_order();
    let is_it = |id: &u64| hierarchy.path(*id).as_deref() == Some(path);
    ids.into_iter().find(is_it).unwrap()
}

#[test]
fn a_scan_and_the_events_agree_on_paths() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("a.slice/b.scope")).unwrap();
    fs::write(tree.path().join("a.slice/cgroup.procs"), "").unwrap();
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    assert_eq!(
        paths(&hierarchy),
        [&b"/"[..], b"/a.slice", b"/a.slice/b.scope"]
    );

    let a = id(&hierarchy, b"/a.slice");
    assert_eq!(hierarchy.made(77, a, b"c\xff"), Made::Known);
    assert_eq!(hierarchy.path(77).unwrap(), b"/a.slice/c\xff");
    assert_eq!(hierarchy.made(78, hierarchy.root, b"top"), Made::Known);
    assert_eq!(hierarchy.path(78).unwrap(), b"/top");
    assert!(hierarchy.subtree(a).contains(&77));
    hierarchy.removed(77);
    assert!(!hierarchy.ids().contains(&77) && !hierarchy.subtree(a).contains(&77));
    // It was made just now: its directory may not be there yet.
    assert_eq!(hierarchy.rescan().unwrap(), Rescan::default());
    assert_eq!(hierarchy.path(78).unwrap(), b"/top");
    hierarchy.made.clear();
    let rescan = hierarchy.rescan().unwrap();
    assert_eq!((rescan.appeared.len(), rescan.gone), (0, vec![78]));
}

#[test]
fn each_comes_after_its_parent_and_otherwise_in_the_order_of_making() {
    let tree = tempfile::tempdir().unwrap();
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    let root = hierarchy.root;
    let late = root + 9;
    for (id, parent) in [(late, root), (root + 3, late), (root + 5, root)] {
        assert_eq!(hierarchy.made(id, parent, b"x"), Made::Known);
    }
    assert_eq!(hierarchy.in_order(), [root, root + 5, late, root + 3]);
    assert_eq!(hierarchy.subtree(late), [late, root + 3]);
    assert_eq!(hierarchy.subtree(1), [0; 0]);
}

#[test]
fn depth_costs_the_names_alone_and_no_rule_is_asked_beyond_the_longest_path() {
    let tree = tempfile::tempdir().unwrap();
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    let (mut parent, name) = (hierarchy.root, vec![b'x'; 255]);
    for depth in 0..MOST_WITHIN {
        let id = parent + 1;
        assert_eq!(hierarchy.made(id, parent, &name), Made::Known);
        let known = hierarchy.path(id).map(|path| path.len());
        let length = (depth + 1) * 256;
        assert_eq!(known, (length <= LONGEST).then_some(length));
        parent = id;
    }
    let kept: usize = hierarchy.nodes.values().map(|node| node.name.len()).sum();
    assert_eq!(kept, MOST_WITHIN * 255);
}

#[test]
fn a_directory_that_others_own_or_may_write_is_not_roots() {
    let tree = tempfile::tempdir().unwrap();
    for (name, mode) in [("roots", 0o755), ("open", 0o775), ("users", 0o700)] {
        let path = tree.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::chown(tree.path().join("users"), Some(1000), None).unwrap();
    let hierarchy = Hierarchy::scan(tree.path()).unwrap();
    let roots = |path: &[u8]| hierarchy.is_roots(id(&hierarchy, path));
    assert!(roots(b"/roots") && !roots(b"/open") && !roots(b"/users"));
    assert!(!hierarchy.is_roots(1));
}

#[test]
fn what_cannot_be_read_is_not_taken_for_gone_and_hides_nothing_else() {
    let tree = tempfile::tempdir().unwrap();
    let path = |name: &str| tree.path().join(name);
    // Paths end at 4,096 bytes, for root, too, which no mode keeps out.
    let (most, more) = (
        vec!["x".repeat(200); 18].join("/"),
        vec!["y".repeat(200); 3].join("/"),
    );
    let inner = format!("{more}/known");
    fs::create_dir_all(path(&inner)).unwrap();
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    let known = id(&hierarchy, format!("/{inner}").as_bytes());
    fs::create_dir_all(path(&most)).unwrap();
    let top = more.split('/').next().unwrap();
    fs::rename(path(top), path(&most).join(top)).unwrap();
    fs::create_dir(path("b")).unwrap();
    hierarchy.rescan().unwrap();
    assert!(hierarchy.contains(known));
    assert!(paths(&hierarchy).contains(&b"/b".to_vec()));
}

#[test]
fn walks_pass_over_what_has_gone_and_over_nothing_else() {
    let gone = [libc::ENOENT, libc::ENODEV];
    for code in gone {
        let error = io::Error::from_raw_os_error(code);
        assert!(matches!(if_there::<()>(Err(error)), Ok(None)));
    }
    for code in [libc::EMFILE, libc::ENOMEM, libc::EACCES] {
        let error = io::Error::from_raw_os_error(code);
        let passed = if_there::<()>(Err(error));
        assert_eq!(passed.unwrap_err().raw_os_error(), Some(code));
    }
}

#[test]
fn a_cgroup_below_an_unknown_parent_asks_for_a_scan() {
    let tree = tempfile::tempdir().unwrap();
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    assert_eq!(hierarchy.made(5, 999_999, b"x"), Made::Stray);
}

#[test]
fn a_session_has_a_budget_of_its_own_and_what_is_over_it_is_known_when_there_is_room() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["session", "other"] {
        fs::create_dir(tree.path().join(name)).unwrap();
    }
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    let [session, other] = [b"/session".as_slice(), b"/other"].map(|path| id(&hierarchy, path));
    assert_eq!(hierarchy.bound(session), [0; 0]);
    assert_eq!(hierarchy.bound(other), [0; 0]);
    for n in 0..MOST_WITHIN + 10 {
        fs::create_dir(tree.path().join(format!("session/{n}"))).unwrap();
    }
    fs::create_dir(tree.path().join("session/0/deep")).unwrap();
    let rescan = hierarchy.rescan().unwrap();
    assert_eq!(rescan.appeared.len(), MOST_WITHIN);
    assert_eq!(hierarchy.made(1, session, b"x"), Made::OverBudget(session));
    assert_eq!(hierarchy.made(1, other, b"x"), Made::Known);
    // Scanned again, none of those that are known goes for another.
    hierarchy.removed(1);
    assert_eq!(hierarchy.rescan().unwrap(), Rescan::default());
    let known: Vec<u64> = hierarchy.subtree(session);
    hierarchy.removed(known[1]);
    assert_eq!(hierarchy.made(2, session, b"y"), Made::Known);
    assert_eq!(hierarchy.made(3, session, b"z"), Made::OverBudget(session));
}

#[test]
fn what_is_there_when_a_session_is_found_is_cut_to_its_budget_and_inner_sessions_keep_theirs() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("session/inner")).unwrap();
    let mut hierarchy = Hierarchy::scan(tree.path()).unwrap();
    let [session, inner] =
        [b"/session".as_slice(), b"/session/inner"].map(|path| id(&hierarchy, path));
    hierarchy.bound(inner);
    let first = session.max(inner) + 1;
    for id in first..first + 5 {
        assert_eq!(hierarchy.made(id, inner, b"x"), Made::Known);
    }
    // Made while nobody knew that it is one: root may make as many as it likes.
    let many = first + 5..first + 5 + MOST_WITHIN as u64 + 3;
    for id in many.clone() {
        assert_eq!(hierarchy.made(id, session, b"x"), Made::Known);
    }
    let surplus = hierarchy.bound(session);
    assert_eq!(surplus.len(), 4, "the inner one takes a place, too");
    assert!(
        surplus
            .iter()
            .all(|id| many.contains(id) && !hierarchy.contains(*id))
    );
    assert!((first..first + 5).all(|id| hierarchy.contains(id)));
    assert_eq!(hierarchy.bound(session), [0; 0]);
}
