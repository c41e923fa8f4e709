//! The command line.

use std::path::PathBuf;

use intune_connector::adapters::graph::{IntendedPurpose, OnExisting, PasswordEncoding, Strictness};

pub(crate) const USAGE: &str = "\
usage: import_pfx CREDENTIAL --public-key FILE --key-name NAME --provider-name NAME --folder DIR --csv FILE --result FILE [OPTIONS]

CREDENTIAL
  --tenant T --client-id ID --secret-env NAME | --secret-file FILE
                            an app registration with DeviceManagementConfiguration.ReadWrite.All and User.Read.All of Microsoft Graph
                            (application permissions, with admin consent); the secret comes from a variable or a file
  --token-env NAME          or: a token for Graph in a variable, such as one of `az account get-access-token`

WHAT
  --public-key FILE         the connector's public key: PEM or RSAPUBLICBLOB, such as `openssl rsa -pubout` and Microsoft's module export
  --key-name NAME           the name of its private half on the connector
  --provider-name NAME      the key storage provider that has it
  --folder DIR              where the .pfx and .p12 files lie
  --csv FILE                the list; its first line names the columns: file,upn,password[,purpose][,mail][,thumbprint]; in place of
                            password may stand password_env, a variable that holds it, or password_file, a file that does
  --result FILE             what became of each row; a later run passes over what succeeded

OPTIONS
  --dry-run                 check everything, send and write nothing; needs no credential and no result file
  --purpose P               needed unless the list has the column; for rows without one: smimeEncryption, smimeSigning, wifi, unassigned
  --padding P               oaepSha512 (default), oaepSha384, oaepSha256
  --existing keep|update    records that are there already (default keep)
  --expired refuse|warn     certificates that are over (default refuse)
  --password-encoding E     of passwords that are not ASCII: ascii (refuse, default), utf8, latin1
  --concurrency N           rows in hand at a time (default 4)
  --graph URL               default https://graph.microsoft.com
  --scope S                 of the token (default: Graph's URL and /.default; on loopback that of the public cloud)
  --authority URL           default https://login.microsoftonline.com/
  --plain-http-on-loopback  take http:// URLs of loopback addresses, for a simulator on this machine: give --graph and --authority as
                            `--example simulator` prints them, and make the list's users known to it by its option --user
  --help                    this text

Exit code: 0 every row is done, 1 some are not, 2 nothing could be begun.
";

/// Where tokens come from.
pub(crate) enum Access {
    Secret { tenant: String, client_id: String, source: Source },
    Token { variable: String },
    Nowhere,
}

pub(crate) enum Source {
    Variable(String),
    File(PathBuf),
}

pub(crate) struct Arguments {
    pub(crate) access: Access,
    pub(crate) public_key: PathBuf,
    pub(crate) key_name: String,
    pub(crate) provider_name: String,
    pub(crate) folder: PathBuf,
    pub(crate) csv: PathBuf,
    pub(crate) result: Option<PathBuf>,
    pub(crate) dry_run: bool,
    pub(crate) purpose: Option<IntendedPurpose>,
    pub(crate) padding: Option<String>,
    pub(crate) existing: OnExisting,
    pub(crate) expired: Strictness,
    pub(crate) encoding: PasswordEncoding,
    pub(crate) concurrency: usize,
    pub(crate) graph: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) authority: Option<String>,
    pub(crate) plain: bool,
}

/// The options that have a value.
const WITH_VALUE: &[&str] = &[
    "--tenant",
    "--client-id",
    "--secret-env",
    "--secret-file",
    "--token-env",
    "--public-key",
    "--key-name",
    "--provider-name",
    "--folder",
    "--csv",
    "--result",
    "--purpose",
    "--padding",
    "--existing",
    "--expired",
    "--password-encoding",
    "--concurrency",
    "--graph",
    "--scope",
    "--authority",
];

impl Arguments {
    /// `None` when help was asked for.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut given = std::collections::BTreeMap::new();
        let (mut dry_run, mut plain) = (false, false);
        let mut words = words;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--dry-run" => dry_run = true,
                "--plain-http-on-loopback" => plain = true,
                name if WITH_VALUE.contains(&name) => {
                    let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
                    if given.insert(word.clone(), value).is_some() {
                        return Err(format!("{word} is given twice"));
                    }
                }
                other => return Err(format!("unknown argument {other}")),
            }
        }
        let mut take = |name: &str| given.remove(name);
        let source = match (take("--secret-env"), take("--secret-file")) {
            (Some(_), Some(_)) => return Err("give one of --secret-env and --secret-file".to_owned()),
            (Some(name), None) => Some(Source::Variable(name)),
            (None, file) => file.map(|file| Source::File(file.into())),
        };
        let access = match (take("--tenant"), take("--client-id"), source, take("--token-env")) {
            (Some(tenant), Some(client_id), Some(source), None) => Access::Secret { tenant, client_id, source },
            (None, None, None, Some(variable)) => Access::Token { variable },
            (None, None, None, None) if dry_run => Access::Nowhere,
            _ => return Err("give --tenant, --client-id and a secret, or --token-env alone".to_owned()),
        };
        let (graph, authority) = (take("--graph"), take("--authority"));
        let is_plain = graph.as_ref().is_some_and(|graph| graph.starts_with("http://"));
        if is_plain && authority.is_none() && matches!(access, Access::Secret { .. }) {
            // Else a simulator's secret would go to Microsoft.
            return Err("--graph is plain HTTP: give --authority, too, as the simulator prints it".to_owned());
        }
        let result = take("--result");
        if result.is_none() && !dry_run {
            return Err("--result is missing: a run without a result file cannot be resumed".to_owned());
        }
        let choice = |name: &str, value: Option<String>, of: &[&str]| match value {
            None => Ok(0),
            Some(value) => of.iter().position(|choice| *choice == value).ok_or_else(|| format!("{name} is one of {}", of.join(", "))),
        };
        let existing = [OnExisting::Keep, OnExisting::Update][choice("--existing", take("--existing"), &["keep", "update"])?];
        let expired = [Strictness::Refuse, Strictness::Warn][choice("--expired", take("--expired"), &["refuse", "warn"])?];
        let encodings = [PasswordEncoding::AsciiOnly, PasswordEncoding::Utf8, PasswordEncoding::Latin1];
        let encoding = encodings[choice("--password-encoding", take("--password-encoding"), &["ascii", "utf8", "latin1"])?];
        let purpose =
            take("--purpose").map(|name| name.parse::<IntendedPurpose>()).transpose().map_err(|error| format!("--purpose: {error}"))?;
        let concurrency = match take("--concurrency").map(|count| count.parse::<usize>()) {
            None => 4,
            Some(Ok(count @ 1..=32)) => count,
            Some(_) => return Err("--concurrency is a number from 1 to 32".to_owned()),
        };
        let mut need = |name: &str| take(name).ok_or_else(|| format!("{name} is missing"));
        Ok(Some(Self {
            access,
            public_key: need("--public-key")?.into(),
            key_name: need("--key-name")?,
            provider_name: need("--provider-name")?,
            folder: need("--folder")?.into(),
            csv: need("--csv")?.into(),
            result: result.map(PathBuf::from),
            dry_run,
            purpose,
            padding: take("--padding"),
            existing,
            expired,
            encoding,
            concurrency,
            graph,
            scope: take("--scope"),
            authority,
            plain,
        }))
    }
    /// Whether no TLS server is talked to: then nothing needs to be trusted.
    pub(crate) fn is_plain_alone(&self) -> bool {
        let is_plain = |url: &Option<String>| url.as_ref().is_some_and(|url| url.starts_with("http://"));
        self.plain && is_plain(&self.graph) && (is_plain(&self.authority) || !matches!(self.access, Access::Secret { .. }))
    }
}
