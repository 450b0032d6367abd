//! What draws the dashboards: that its packages may be used, and that it finds faults. That there are none is the business of
//! `operations`, which has a Prometheus.

use std::process::Command;

use integration_tests::{
    drawing::{prepared, run},
    repository,
};

fn node(arguments: &[&str]) -> String {
    run(Command::new("node").args(arguments).current_dir(prepared()))
}

#[test]
fn every_package_that_draws_has_a_permissive_licence() {
    let said = node(&["licenses.mjs"]);
    eprintln!("{said}");
}

#[test]
fn dashboards_are_as_grafanas_types_want_them() {
    let dashboards = repository().join("dashboards");
    let files = std::fs::read_dir(dashboards).expect("the folder is there");
    let paths = files.map(|file| file.expect("it can be read").path());
    let paths = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
    assert_eq!(paths.len(), 12);
    let mut arguments = vec!["schema.mjs"];
    arguments.extend(paths.iter().map(String::as_str));
    eprintln!("{}", node(&arguments));
}

#[test]
fn planted_faults_are_found() {
    let said = node(&["--test", "test/"]);
    assert!(
        said.contains("# fail 0") || said.contains("fail 0"),
        "{said}"
    );
}
