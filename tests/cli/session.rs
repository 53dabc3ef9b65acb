//! What a script runs in: a folder, the programs, and perhaps a namespace with an operator and an AWS emulator.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::actions;
use crate::normal::Normal;
use crate::script::{Step, Work};
use crate::support::harness::Harness;
use crate::support::stack::{Scratch, Stack, scratch};

/// The names of the program: as people call it, as a plugin of kubectl, and as what kubectl asks for completions.
const NAMES: [&str; 5] =
    ["bucketconnection", "kubectl-bucketconnection", "kubectl-bc", "kubectl_complete-bucketconnection", "kubectl_complete-bc"];

/// Where a script runs.
pub struct Session {
    harness: Option<Harness>,
    /// The folder of the script.
    work: PathBuf,
    _directory: Scratch,
    environment: BTreeMap<&'static str, String>,
    normal: Normal,
}

impl Session {
    pub async fn new(name: &str, needs: &str) -> Self {
        let harness = match needs {
            "nothing" => None,
            "cluster" => Some(Harness::new(name).await),
            "cluster without operator" => Some(Harness::idle(name, Stack::cluster(), &[]).await),
            _ => panic!("scripts/{name}.txt: {needs:?} is nothing that a script can need"),
        };
        let directory = scratch(&format!("cli-{name}"));
        let programs = directory.join("programs");
        fs::create_dir_all(&programs).unwrap();
        for name in NAMES {
            symlink(env!("CARGO_BIN_EXE_bucketconnection"), programs.join(name)).unwrap();
        }
        let work = directory.join("work");
        fs::create_dir_all(&work).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut environment = BTreeMap::from([
            ("HOME", work.display().to_string()),
            ("PATH", path),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]);
        let mut normal = Normal::new(vec![(work.display().to_string(), "DIRECTORY")]);
        if let Some(harness) = &harness {
            symlink(Stack::cluster().fact("kubectl"), programs.join("kubectl")).unwrap();
            let (kubeconfig, server) = kubeconfig(harness);
            let place = directory.join("kubeconfig");
            fs::write(&place, kubeconfig).unwrap();
            let (id, secret) = harness.emulator.key("operator");
            normal = normal.and(harness.namespace.clone(), "NAMESPACE").and(harness.proxy.url.clone(), "AWS_URL");
            normal = normal.and(server, "API_SERVER").and(place.display().to_string(), "KUBECONFIG");
            environment.extend([
                ("KUBECONFIG", place.display().to_string()),
                ("NAMESPACE", harness.namespace.clone()),
                ("AWS_ENDPOINT_URL", harness.proxy.url.clone()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_ACCESS_KEY_ID", id),
                ("AWS_SECRET_ACCESS_KEY", secret),
            ]);
        }
        Self { harness, work, _directory: directory, environment, normal }
    }

    /// Gives a program the environment and the folder of the script.
    pub fn set_up(&self, command: &mut Command) {
        command.env_clear().envs(&self.environment).current_dir(&self.work);
    }

    /// A file in the folder of the script.
    pub fn place(&self, file: &str) -> PathBuf {
        self.work.join(file)
    }

    /// The namespace, operator and emulator.
    pub fn harness(&self) -> &Harness {
        self.harness.as_ref().expect("it was not asked for a cluster")
    }

    /// The name of the context of the kubeconfig.
    pub fn context(&self) -> String {
        let kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&self.environment["KUBECONFIG"]).unwrap()).unwrap();
        kubeconfig["current-context"].as_str().unwrap().to_owned()
    }

    /// Runs a step; keeps what it printed.
    pub async fn run(&mut self, step: &mut Step) {
        match &step.work {
            Work::Comment => {}
            Work::Action(action) => {
                let harness = self.harness.as_mut().expect("an action needs a cluster");
                let words: Vec<_> = action.split(' ').collect();
                actions::run(harness, &words).await;
            }
            Work::Command(command) => {
                let mut shell = Command::new("sh");
                // Together, in the order in which a person sees them.
                shell.args(["-c", &format!("{{ {command}\n}} 2>&1")]);
                self.set_up(&mut shell);
                shell.env("COLUMNS", "120").stdin(Stdio::null());
                let output = tokio::task::block_in_place(|| shell.output()).unwrap();
                let mut text = self.normal.text(&String::from_utf8_lossy(&output.stdout));
                if !text.is_empty() && !text.ends_with('\n') {
                    text += "(no line break)\n";
                }
                let code = output.status.code().expect("no signal ends the command");
                step.output = text;
                step.code = if code == 0 { String::new() } else { format!("[{code}]\n") };
            }
        }
    }
}

/// The administrator's kubeconfig, with the harness's namespace as the default; and the address of the API server.
fn kubeconfig(harness: &Harness) -> (String, String) {
    let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&harness.kubeconfig).unwrap()).unwrap();
    kubeconfig["contexts"][0]["context"]["namespace"] = json!(harness.namespace);
    let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
    (kubeconfig.to_string(), server)
}
