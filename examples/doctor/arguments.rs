//! What is asked for on the command line.

use std::path::PathBuf;

pub const USAGE: &str = "\
Checks an installation: network, tokens, roles, discovery, certificates, journal, disk and host.

    doctor [--tenant FILE] [--import] [--no-scep] [--no-revocation] [--certificate FILE]... [--journal FILE]
           [--folder DIR]... [--secret FILE]... [--ca-host NAME]... [--timeout SECONDS] [--json]

    --tenant FILE       the tenant's TOML file, as of the example `connector`; without it nothing online is looked at
    --import            PFX files are imported with the tenant's credential
    --no-scep           SCEP is not served
    --no-revocation     nothing is revoked for Intune
    --certificate FILE  a certificate (PEM) that the connector works with, such as its RA's
    --journal FILE      the SQLite journal, while no connector has it open
    --folder DIR        must be writable, such as that of the journal and the logs
    --secret FILE       nobody but its owner may read it; those that the tenant's file names are looked at as well
    --ca-host NAME      a host of the CA: the connector must not run there
    --timeout SECONDS   the longest time for one check (20)
    --json              JSON instead of a table

Exit code: 0 all is well, 1 warnings, 2 errors, 64 wrong arguments or files.
Your own CA and keys are looked at from your own program: `Doctor::ca`, `Doctor::import_key`.";

#[derive(Debug, Default)]
pub struct Arguments {
    pub help: bool,
    pub tenant: Option<PathBuf>,
    pub import: bool,
    pub no_scep: bool,
    pub no_revocation: bool,
    pub certificates: Vec<PathBuf>,
    pub journal: Option<PathBuf>,
    pub folders: Vec<PathBuf>,
    pub secrets: Vec<PathBuf>,
    pub ca_hosts: Vec<String>,
    pub timeout: Option<u64>,
    pub json: bool,
}

impl Arguments {
    pub fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(option) = given.next() {
            let mut value = || given.next().ok_or_else(|| format!("{option} needs a value"));
            match option.as_str() {
                "--help" | "-h" => arguments.help = true,
                "--tenant" => arguments.tenant = Some(value()?.into()),
                "--import" => arguments.import = true,
                "--no-scep" => arguments.no_scep = true,
                "--no-revocation" => arguments.no_revocation = true,
                "--certificate" => arguments.certificates.push(value()?.into()),
                "--journal" => arguments.journal = Some(value()?.into()),
                "--folder" => arguments.folders.push(value()?.into()),
                "--secret" => arguments.secrets.push(value()?.into()),
                "--ca-host" => arguments.ca_hosts.push(value()?),
                "--timeout" => {
                    let seconds = value()?.parse().ok().filter(|seconds| (1..=600).contains(seconds));
                    arguments.timeout = Some(seconds.ok_or("--timeout: give 1 to 600 seconds")?);
                }
                "--json" => arguments.json = true,
                other => return Err(format!("{other}: not known")),
            }
        }
        Ok(arguments)
    }
}
