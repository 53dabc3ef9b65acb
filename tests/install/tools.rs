//! The tools themselves.

use std::process::Command;

use crate::support::tools::tool;

#[test]
fn every_tool_runs() {
    for (name, argument, expected) in [
        ("helm", "version", "v4."),
        ("crane", "--help", "Crane is a tool for managing container images"),
        ("promtool", "--version", "promtool, version"),
        ("prometheus", "--version", "prometheus, version"),
        ("kustomize-controller", "--help", "--concurrent"),
        ("runc", "--version", "runc version"),
    ] {
        let output = Command::new(tool(name)).arg(argument).env_clear().output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(text.contains(expected), "{name}: {text}");
    }
}
