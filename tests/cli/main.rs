//! The command line as people use it: scripts of commands, with their whole output compared.
//!
//! A script is a file in `scripts/`. Its first line says what it needs:
//!
//! | first line | the commands have |
//! |---|---|
//! | `# needs: nothing` | no cluster and no AWS |
//! | `# needs: cluster` | a namespace of the local cluster with its own operator and AWS emulator |
//! | `# needs: cluster without operator` | the same without the operator |
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | a comment |
//! | `$ command` | runs in `sh`, with `bucketconnection` and `kubectl` on the PATH; lines that begin with `> ` continue it |
//! | `% action` | does something from outside; `actions.rs` lists what |
//! | `[2]` | the command before exits with this code instead of 0 |
//! | indented by four spaces | what the command before prints to standard output and standard error |
//!
//! Names, times, keys and ids that differ between runs are replaced (`normal.rs`). `UPDATE=1` records the output.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod normal;
mod screens;
mod script;
mod session;
mod shells;
mod terminal;

use std::collections::BTreeSet;

use script::Script;
use session::Session;

/// One test for each script, and a list of all.
macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                run(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_script_has_a_test() {
            let tested: BTreeSet<_> = [$(stringify!($name)),*].map(str::to_owned).into();
            assert_eq!(script::names(), tested);
        }
    };
}

scripts! {
    adopt
    clusterless
    doctor
    get
    handoff
    help
    import
    init
    mistakes
    kubeconfig
    plan
    plugin
    render
    requests
    status
    validate
}

async fn run(name: &str) {
    let mut script = Script::read(name);
    let mut session = Session::new(name, &script.needs).await;
    for step in &mut script.steps {
        session.run(step).await;
    }
    script.compare();
}
