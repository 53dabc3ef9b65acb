//! `bucketconnection init`.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::api::Preset;
use crate::cli::terminal::{FAINT, GOOD, HEADING, painted, print, say};
use crate::cli::{Cli, Command, Failure};
use crate::manifest::{self, Severity};
use crate::render::starter::Starter;

/// Write the YAML of a new connection, with comments
///
/// Asks for the platform, the region, the bucket and the prefix, and writes a BucketConnection with a description of each field. An
/// option answers its question in advance; --yes takes the defaults for the others. The command checks the answers, and calls neither
/// AWS nor Kubernetes.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection init
  bucketconnection init --preset IlluminaICA --bucket lab-a --prefix runs/ -o lab.yaml
  bucketconnection init --preset ReadOnly --bucket lab-a --yes | kubectl apply -f -")]
pub(in crate::cli) struct Init {
    /// What the connection is for
    #[arg(long, value_name = "PRESET")]
    preset: Option<Choice>,

    /// AWS region of the bucket, such as us-east-1
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    /// Name of the bucket
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,

    /// Part of the bucket that the connection works on, such as runs/; empty for the whole bucket
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Name of the BucketConnection [default: that of the bucket]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Namespace of the BucketConnection [default: none in the file]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// File to write, which must not exist; or - for standard output [default: <name>.yaml on a terminal, otherwise standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
}

/// The presets that need nothing more than a bucket.
#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// Illumina Connected Analytics
    #[value(name = "IlluminaICA", alias = "ica")]
    IlluminaICA,
    /// QIAGEN CLC Server
    #[value(name = "CLCGenomics", alias = "clc")]
    CLCGenomics,
    /// Other programs that read objects
    #[value(name = "ReadOnly")]
    ReadOnly,
    /// Other programs that read and write objects
    #[value(name = "ReadWrite")]
    ReadWrite,
    /// Other programs that only write objects
    #[value(name = "WriteOnly")]
    WriteOnly,
}

impl Choice {
    fn preset(self) -> Preset {
        match self {
            Self::IlluminaICA => Preset::IlluminaICA,
            Self::CLCGenomics => Preset::CLCGenomics,
            Self::ReadOnly => Preset::ReadOnly,
            Self::ReadWrite => Preset::ReadWrite,
            Self::WriteOnly => Preset::WriteOnly,
        }
    }
}

impl Init {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        // Before the questions: no answer is lost.
        if let Some(flaw) = self.output.as_deref().and_then(exists) {
            return Err(Failure(format!("{flaw}; choose another file with -o")));
        }
        let preset = self.choice()?;
        let mut starter = Starter {
            name: "new".to_owned(),
            namespace: self.namespace.clone(),
            preset,
            region: "us-east-1".to_owned(),
            bucket: "new-bucket".to_owned(),
            prefix: "new/".to_owned(),
        };
        if let (Some(namespace), Some(flaw)) = (&self.namespace, flaw(&starter)) {
            return Err(Failure(format!("--namespace {namespace}: {flaw}")));
        }
        starter.region =
            self.answer("AWS region of the bucket", "--region", self.region.as_deref(), Some("us-east-1"), |region| {
                flaw(&Starter { region: region.to_owned(), ..starter.clone() })
            })?;
        starter.bucket = self.answer("Name of the bucket", "--bucket", self.bucket.as_deref(), None, |bucket| {
            flaw(&Starter { bucket: bucket.to_owned(), ..starter.clone() })
        })?;
        let prefix = if preset == Preset::IlluminaICA { "runs/" } else { "" };
        let question = "Prefix in the bucket, such as runs/ (- for the whole bucket)";
        starter.prefix = self.answer(question, "--prefix", self.prefix.as_deref(), Some(prefix), |prefix| {
            flaw(&Starter { prefix: whole(prefix), ..starter.clone() })
        })?;
        starter.prefix = whole(&starter.prefix);
        let name = starter.bucket.replace('.', "-");
        starter.name = self.answer("Name of the BucketConnection", "--name", self.name.as_deref(), Some(&name), |name| {
            let starter = Starter { name: name.to_owned(), ..starter.clone() };
            let exists = || self.file(name).as_deref().and_then(exists).map(|flaw| format!("{flaw}; choose another name"));
            flaw(&starter).or_else(exists)
        })?;
        let Some(file) = self.write(&starter)? else { return Ok(ExitCode::SUCCESS) };
        let question = "Show what the operator would do? (y/n)";
        let known = |answer: &str| (!["y", "yes", "n", "no"].contains(&answer)).then(|| "answer y or n".to_owned());
        if self.yes || !io::stdin().is_terminal() || self.answer(question, "", None, Some("n"), known)?.starts_with('n') {
            return Ok(ExitCode::SUCCESS);
        }
        let plan = Cli::try_parse_from([OsStr::new("bucketconnection"), OsStr::new("plan"), OsStr::new("-f"), file.as_os_str()]);
        match plan?.command {
            Command::Plan(plan) => Box::pin(plan.run()).await,
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    /// Writes the YAML, and returns the file if it is not standard output.
    fn write(&self, starter: &Starter) -> Result<Option<PathBuf>, Failure> {
        let Some(file) = self.file(&starter.name) else {
            print(&starter.yaml());
            return Ok(None);
        };
        let shown = file.display();
        let created = std::fs::File::create_new(&file);
        let mut created = created.map_err(|error| Failure(format!("{shown}: {error}; choose another file with -o")))?;
        created.write_all(starter.yaml().as_bytes()).map_err(|error| Failure(format!("{shown}: {error}")))?;
        print(&format!("{} {shown}\n\nNext:\n", painted(GOOD, "wrote")));
        for (command, what) in
            [("bucketconnection plan -f", "what the operator would do"), ("kubectl apply -f", "connects the bucket")]
        {
            say(&format!("  {command} {shown}   {}\n", painted(FAINT, format!("# {what}"))));
        }
        Ok(Some(file))
    }

    /// The file of a connection with this name; none for standard output.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let default = || io::stdout().is_terminal().then(|| PathBuf::from(format!("{name}.yaml")));
        self.output.clone().or_else(default).filter(|file| file.as_os_str() != "-")
    }

    fn choice(&self) -> Result<Preset, Failure> {
        let choices = Choice::value_variants();
        let named = |choice: &Choice| choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let lines = choices.iter().enumerate().map(|(index, choice)| {
            let help = choice.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
            format!("\n  {} {:<12} {}", index + 1, named(choice), help.unwrap_or_default())
        });
        let question = format!("What is the connection for?{}\nNumber or name", lines.collect::<String>());
        let chosen = |text: &str| {
            let number = text.parse::<usize>().ok().and_then(|number| choices.get(number.checked_sub(1)?)).copied();
            number.or_else(|| Choice::from_str(text, true).ok())
        };
        let given = self.preset.as_ref().map(named);
        let answer = self.answer(&question, "--preset", given.as_deref(), None, |text| match chosen(text) {
            Some(_) => None,
            None => Some(format!("choose 1 to {}, or a name", choices.len())),
        })?;
        chosen(&answer).map(Choice::preset).ok_or_else(|| Failure("--preset: no such preset".to_owned()))
    }

    /// The value of an option, or the answer to its question. `flaw` says what is wrong with a value.
    fn answer(
        &self,
        question: &str,
        option: &str,
        given: Option<&str>,
        default: Option<&str>,
        flaw: impl Fn(&str) -> Option<String>,
    ) -> Result<String, Failure> {
        let asks = !self.yes && io::stdin().is_terminal();
        if let Some(value) = given.or(default.filter(|_| !asks)) {
            return match flaw(value) {
                Some(text) => Err(Failure(format!("{option} {value}: {text}"))),
                None => Ok(value.to_owned()),
            };
        }
        if !asks {
            return Err(Failure(format!("{option} is missing; pass it, or run the command on a terminal without --yes")));
        }
        loop {
            let mut error = anstream::stderr();
            let shown = default.filter(|default| !default.is_empty()).map(|default| format!(" [{default}]")).unwrap_or_default();
            write!(error, "{}{shown}: ", painted(HEADING, question))?;
            error.flush()?;
            let mut line = String::new();
            if io::stdin().read_line(&mut line)? == 0 {
                return Err(Failure("no more answers".to_owned()));
            }
            let answer = match (unquoted(line.trim()), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match flaw(answer) {
                Some(text) => writeln!(error, "  {text}")?,
                None => return Ok(answer.to_owned()),
            }
        }
    }
}

/// An answer without the quotes around it, with which it was pasted.
fn unquoted(answer: &str) -> &str {
    let within = |quote| answer.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(answer)
}

/// That a file exists, if it does.
fn exists(file: &Path) -> Option<String> {
    // Also a symbolic link that leads nowhere.
    (file.as_os_str() != "-" && file.symlink_metadata().is_ok()).then(|| format!("{} exists", file.display()))
}

fn whole(prefix: &str) -> String {
    if prefix == "-" { String::new() } else { prefix.to_owned() }
}

/// What is wrong with the answers so far.
fn flaw(starter: &Starter) -> Option<String> {
    let manifest = manifest::read(&[("answers".to_owned(), starter.yaml())], "default");
    let errors = manifest::check(&manifest).into_iter().filter(|finding| finding.severity == Severity::Error);
    let errors: Vec<_> = errors.map(|finding| finding.message).collect();
    match (is_plain(starter), errors.is_empty()) {
        (true, true) => None,
        (true, false) => Some(errors.join("; ")),
        (false, _) => Some("use letters, digits, dots and hyphens".to_owned()),
    }
}

/// Whether no answer can be more than the value of its field.
fn is_plain(starter: &Starter) -> bool {
    let Starter { name, namespace, region, bucket, .. } = starter;
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) && !text.is_empty();
    [name, region, bucket].into_iter().chain(namespace).all(|text| plain(text))
}
