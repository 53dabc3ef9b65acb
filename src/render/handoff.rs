//! A connection as another program wants it: the fields of a platform's dialogs in their order, or a configuration file.
//! The secret part of the key is a gap in the text ([`Piece::Secret`]): secrets never reach this module.

use crate::api::BucketConnection;
use crate::desired::names;
use crate::settings::encryption::EncryptionType;

/// What a connection is handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Illumina Connected Analytics: a storage credential, then a storage configuration.
    Ica,
    /// QIAGEN CLC Server: an AWS Connection.
    Clc,
    /// A profile of the AWS configuration file.
    AwsConfig,
    /// A remote of rclone.
    Rclone,
    /// Variables for a POSIX shell.
    Env,
}

/// The facts to hand over.
#[derive(Clone, Debug, Default)]
pub struct Handoff {
    /// Name of the connection.
    pub name: String,
    /// Name of the bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// The prefix; empty for the whole bucket.
    pub prefix: String,
    /// The partition of the account; empty if it is not known.
    pub partition: String,
    /// Id of the access key.
    pub key_id: String,
    /// ARN of the KMS key that new objects must be encrypted with, if the spec names one.
    pub kms_key: Option<String>,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The secret part of the key, as it is: it has no blank and no line break.
    Secret,
    /// The secret part in single quotes of a POSIX shell.
    QuotedSecret,
}

/// Longest name of a storage configuration that ICA's API accepts.
const ICA_NAME: usize = 15;

/// The regions of ICA, as its dialog calls them.
const ICA_REGIONS: [(&str, &str); 12] = [
    ("us-east-1", "United States"),
    ("ca-central-1", "Canada"),
    ("eu-central-1", "Europe (Germany)"),
    ("eu-west-2", "UK"),
    ("il-central-1", "Israel"),
    ("me-central-1", "UAE"),
    ("ap-southeast-1", "Singapore"),
    ("ap-southeast-2", "Australia"),
    ("ap-southeast-3", "Indonesia"),
    ("ap-northeast-1", "Japan"),
    ("ap-northeast-2", "South Korea"),
    ("ap-south-1", "India"),
];

impl Handoff {
    /// The KMS key of the spec.
    pub fn kms_key(object: &BucketConnection) -> Option<String> {
        let encryption = object.spec.bucket.settings.encryption.as_ref()?;
        encryption.kms_key_arn.clone().filter(|_| encryption.kind != EncryptionType::SseS3)
    }

    /// The text for `target`.
    pub fn pieces(&self, target: Target) -> Vec<Piece> {
        match target {
            Target::Ica => form(self.ica()),
            Target::Clc => form(self.clc()),
            Target::AwsConfig => self.profile(),
            Target::Rclone => self.rclone(),
            Target::Env => self.env(),
        }
    }

    fn ica(&self) -> Vec<Line<'_>> {
        let region = ICA_REGIONS.iter().find(|(region, _)| *region == self.region).map(|(_, name)| *name);
        let region =
            region.map_or_else(|| format!("{} (not a region of ICA)", self.region), |name| format!("{name} ({})", self.region));
        let mut lines = vec![
            Line::Head("1. System Settings > Credentials > Create > Storage Credential"),
            Line::Field("Name", self.name.replace('.', "-")),
            Line::Field("Type", "AWS user".to_owned()),
            Line::Field("Access Key ID", self.key_id.clone()),
            Line::Secret("Secret Access Key"),
            Line::Head("2. System Settings > Storage > Create, with this credential"),
            Line::Field("Configuration name", ica_name(&self.name)),
            Line::Field("Type", "AWS S3".to_owned()),
            Line::Field("Region", region),
            Line::Field("Bucket name", self.bucket.clone()),
            Line::Field("Key prefix", or_empty(&self.prefix)),
        ];
        if let Some(arn) = &self.kms_key {
            lines.push(Line::Field("Encryption algorithm", "aws:kms".to_owned()));
            lines.push(Line::Field("Encryption key", arn.clone()));
        }
        lines.push(Line::Head("3. Select the storage configuration when you create the project"));
        lines
    }

    fn clc(&self) -> Vec<Line<'_>> {
        let of_region = names::partition_of(&self.region);
        let partition = if self.partition.is_empty() { of_region } else { &self.partition };
        vec![
            Line::Head("Configuration > External data > AWS Connections > Add AWS Connection..."),
            Line::Field("Connection name", self.name.clone()),
            Line::Field("AWS access key ID", self.key_id.clone()),
            Line::Secret("AWS access secret key"),
            Line::Field("AWS Region", self.region.clone()),
            Line::Field("AWS Partition", partition.to_owned()),
            Line::Head("Browse S3 locations then opens this bucket:"),
            Line::Field("Bucket", self.bucket.clone()),
            Line::Field("Folder", or_empty(&self.prefix)),
        ]
    }

    fn profile(&self) -> Vec<Piece> {
        let before = format!(
            "# For ~/.aws/config. Then: aws s3 ls {} --profile {}\n[profile {}]\nregion = {}\naws_access_key_id = {}\naws_secret_access_key = ",
            quoted(&self.url()),
            self.name,
            self.name,
            self.region,
            self.key_id
        );
        vec![Piece::Text(before), Piece::Secret, Piece::Text("\n".to_owned())]
    }

    fn rclone(&self) -> Vec<Piece> {
        let path = format!("{}:{}/{}", self.name, self.bucket, self.prefix);
        let before = format!(
            "# For rclone.conf. Then: rclone lsf {}\n[{}]\ntype = s3\nprovider = AWS\nenv_auth = false\nregion = {}\naccess_key_id = {}\nsecret_access_key = ",
            quoted(&path),
            self.name,
            self.region,
            self.key_id
        );
        // The key may not create buckets, and it need not: the bucket exists.
        let mut after = "\nno_check_bucket = true\nacl =\n".to_owned();
        if let Some(arn) = &self.kms_key {
            after += &format!("server_side_encryption = aws:kms\nsse_kms_key_id = {arn}\n");
        }
        vec![Piece::Text(before), Piece::Secret, Piece::Text(after)]
    }

    fn env(&self) -> Vec<Piece> {
        let line = |name: &str, value: &str| format!("export {name}={}\n", quoted(value));
        let before = line("AWS_ACCESS_KEY_ID", &self.key_id) + "export AWS_SECRET_ACCESS_KEY=";
        let after = ["\n".to_owned(), line("AWS_REGION", &self.region), line("AWS_DEFAULT_REGION", &self.region)].concat()
            + &line("BUCKET", &self.bucket)
            + &line("PREFIX", &self.prefix);
        vec![Piece::Text(before), Piece::QuotedSecret, Piece::Text(after)]
    }

    fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

enum Line<'a> {
    Head(&'a str),
    Field(&'a str, String),
    Secret(&'a str),
}

/// The fields of a dialog, one per line.
fn form(lines: Vec<Line<'_>>) -> Vec<Piece> {
    let names = lines.iter().map(|line| match line {
        Line::Field(name, _) | Line::Secret(name) => name.len(),
        Line::Head(_) => 0,
    });
    let width = names.max().unwrap_or_default() + 2;
    let pieces = lines.iter().flat_map(|line| match line {
        Line::Head(text) => vec![Piece::Text(format!("{text}\n"))],
        Line::Field(name, value) => vec![Piece::Text(format!("   {name:width$}{value}\n"))],
        Line::Secret(name) => vec![Piece::Text(format!("   {name:width$}")), Piece::Secret, Piece::Text("\n".to_owned())],
    });
    pieces.collect()
}

fn or_empty(text: &str) -> String {
    if text.is_empty() { "(leave empty)".to_owned() } else { text.to_owned() }
}

/// A name that ICA accepts for a storage configuration: 3 to 15 characters, with a letter or digit at both ends.
fn ica_name(name: &str) -> String {
    let short = name.get(..ICA_NAME).unwrap_or(name).trim_end_matches(['-', '.']);
    if short.len() < 3 { format!("{short}-s3") } else { short.to_owned() }
}

/// The text in single quotes of a POSIX shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handoff() -> Handoff {
        Handoff {
            name: "genomics".to_owned(),
            bucket: "lab-a-genomics".to_owned(),
            region: "us-east-1".to_owned(),
            prefix: "runs/".to_owned(),
            partition: "aws".to_owned(),
            key_id: "AKIA1".to_owned(),
            kms_key: None,
        }
    }

    fn text(target: Target, handoff: &Handoff) -> String {
        let shown = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Secret => "(secret)".to_owned(),
            Piece::QuotedSecret => "'(secret)'".to_owned(),
        };
        handoff.pieces(target).iter().map(shown).collect()
    }

    #[test]
    fn ica_gets_the_fields_in_the_order_of_its_dialogs() {
        let expected = "\
1. System Settings > Credentials > Create > Storage Credential
   Name                genomics
   Type                AWS user
   Access Key ID       AKIA1
   Secret Access Key   (secret)
2. System Settings > Storage > Create, with this credential
   Configuration name  genomics
   Type                AWS S3
   Region              United States (us-east-1)
   Bucket name         lab-a-genomics
   Key prefix          runs/
3. Select the storage configuration when you create the project
";
        assert_eq!(text(Target::Ica, &handoff()), expected);
        let kms = Handoff { kms_key: Some("arn:aws:kms:k".to_owned()), ..handoff() };
        assert!(text(Target::Ica, &kms).contains("Encryption algorithm  aws:kms\n"));
    }

    #[test]
    fn clc_gets_the_fields_in_the_order_of_its_dialog() {
        let expected = "\
Configuration > External data > AWS Connections > Add AWS Connection...
   Connection name        genomics
   AWS access key ID      AKIA1
   AWS access secret key  (secret)
   AWS Region             us-east-1
   AWS Partition          aws
Browse S3 locations then opens this bucket:
   Bucket                 lab-a-genomics
   Folder                 runs/
";
        assert_eq!(text(Target::Clc, &handoff()), expected);
        // A Secret that the user wrote has no field for the partition.
        let china = Handoff { region: "cn-north-1".to_owned(), partition: String::new(), ..handoff() };
        assert!(text(Target::Clc, &china).contains("AWS Partition          aws-cn\n"));
    }

    #[test]
    fn a_name_fits_what_ica_accepts() {
        for (name, expected) in [
            ("genomics", "genomics"),
            ("c", "c-s3"),
            ("a-very-long-name-of-a-lab", "a-very-long-nam"),
            ("exactly-15-chr.x", "exactly-15-chr"),
        ] {
            assert_eq!(ica_name(name), expected);
            assert!((3..=ICA_NAME).contains(&ica_name(name).len()));
        }
    }

    /// A prefix may have a blank, and a name of a bucket never ends a quote.
    #[test]
    fn a_shell_reads_each_value_as_one_word() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        let spaced = Handoff { prefix: "my runs/".to_owned(), ..handoff() };
        assert!(text(Target::Env, &spaced).contains("export PREFIX='my runs/'\n"));
        assert!(text(Target::AwsConfig, &spaced).contains("aws s3 ls 's3://lab-a-genomics/my runs/' --profile genomics\n"));
    }
}
