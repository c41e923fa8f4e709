//! The list of what is imported.

use core::fmt;

use super::csv::{CsvProblem, Record, Records};
use crate::adapters::graph::check::is_upn;
use crate::adapters::graph::purpose::IntendedPurpose;
use crate::ids::Thumbprint;
use crate::secret::{Password, SecretBytes};

/// Where a password is.
#[derive(Debug)]
#[non_exhaustive]
pub enum PasswordSource {
    /// In the list itself.
    Given(Password),
    /// In that variable of the environment.
    Environment(String),
    /// In that file, relative to the folder or absolute; one line end at its end does not count.
    File(String),
}

/// One row: a file for a user.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImportRow {
    /// The line in the list, from 1.
    pub line: usize,
    /// The file, relative to the folder.
    pub file: String,
    /// Whose it is.
    pub upn: String,
    /// The user's mail address, where it is not the UPN.
    pub mail: Option<String>,
    /// Where the password is.
    pub password: PasswordSource,
    /// What it is for.
    pub purpose: IntendedPurpose,
    /// The certificate that the file is expected to hold.
    pub thumbprint: Option<Thumbprint>,
}

/// A list cannot be used: what is wrong, line by line. Nothing of it was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListError {
    /// The problems, at most 100.
    pub problems: Vec<CsvProblem>,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ListError {}

/// What is to be imported.
///
/// A CSV file in UTF-8 (RFC 4180; commas or semicolons) whose first line names its columns, in any order and any case:
///
/// | column | needed | what it holds |
/// |---|---|---|
/// | `file` | yes | the PFX file, relative to the folder, without `..` |
/// | `upn` | yes | the user principal name |
/// | `password` | one of the three | the password |
/// | `password_env` | | the name of a variable of the environment that holds it |
/// | `password_file` | | a file that holds it, relative to the folder or absolute |
/// | `purpose` | unless a default is given | `smimeEncryption`, `smimeSigning`, `wifi` or `unassigned` |
/// | `mail` | no | the user's mail address, where it is not the UPN |
/// | `thumbprint` | no | SHA-1 of the certificate that the file must hold |
///
/// Blank lines are passed over. A list with passwords is a secret: keep it where secrets are kept, and delete it afterwards.
#[derive(Debug)]
pub struct ImportList {
    pub(super) rows: Vec<ImportRow>,
}

impl ImportList {
    /// The largest list in bytes.
    pub const MAX_BYTES: usize = 64 << 20;
    /// The most rows.
    pub const MAX_ROWS: usize = 100_000;

    /// Reads a list; a row without a purpose gets the default.
    ///
    /// # Errors
    /// [`ListError`] with all problems, each with its line.
    pub fn read(csv: &SecretBytes, default_purpose: Option<IntendedPurpose>) -> Result<Self, ListError> {
        let one = |line, problem: &str| ListError { problems: vec![CsvProblem::new(line, problem)] };
        if csv.len() > Self::MAX_BYTES {
            return Err(one(1, "the list is longer than 64 MiB: split it"));
        }
        let mut records = Records::new(csv.secret_bytes());
        let header = match records.next() {
            Some(header) => header.map_err(|problem| ListError { problems: vec![problem] })?,
            None => return Err(one(1, "the list is empty: its first line names the columns")),
        };
        let columns = Columns::read(&header, default_purpose).map_err(|problem| ListError { problems: vec![problem] })?;
        let mut rows = Vec::new();
        let mut problems = Vec::new();
        for record in records {
            match record.and_then(|record| if record.is_blank() { Ok(None) } else { columns.row(record).map(Some) }) {
                Ok(None) => {}
                Ok(Some(row)) if rows.len() < Self::MAX_ROWS => rows.push(row),
                Ok(Some(row)) => {
                    problems.push(CsvProblem::new(row.line, "the list has more than 100,000 rows: split it"));
                    break;
                }
                Err(problem) if problems.len() < 100 => problems.push(problem),
                Err(_) => break,
            }
        }
        if problems.is_empty() { Ok(Self { rows }) } else { Err(ListError { problems }) }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[ImportRow] {
        &self.rows
    }
}

/// The names of the columns.
const NAMES: [&str; 8] = ["file", "upn", "password", "password_env", "password_file", "purpose", "mail", "thumbprint"];

/// Where each column of `NAMES` stands.
struct Columns {
    places: [Option<usize>; NAMES.len()],
    count: usize,
    default_purpose: Option<IntendedPurpose>,
}

impl Columns {
    fn read(header: &Record, default_purpose: Option<IntendedPurpose>) -> Result<Self, CsvProblem> {
        let wrong = |problem: String| CsvProblem::new(header.line, problem);
        let mut places = [None; NAMES.len()];
        for (place, field) in header.fields.iter().enumerate() {
            let name = text(field).trim();
            // What is no column may be a password: a list without its first line.
            let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
            let known = known.and_then(|known| places.get_mut(known));
            let Some(known) = known else {
                return Err(wrong(format!("column {} has none of the names {}", place + 1, NAMES.join(", "))));
            };
            if known.replace(place).is_some() {
                return Err(wrong(format!("column {} is named as an earlier one", place + 1)));
            }
        }
        let columns = Self { places, count: header.fields.len(), default_purpose };
        let has = |name: &str| columns.place(name).is_some();
        if !has("file") || !has("upn") {
            return Err(wrong("the columns `file` and `upn` are needed".to_owned()));
        }
        if !has("password") && !has("password_env") && !has("password_file") {
            return Err(wrong("one of the columns `password`, `password_env` and `password_file` is needed".to_owned()));
        }
        if !has("purpose") && default_purpose.is_none() {
            return Err(wrong("the column `purpose` is needed where no default is given".to_owned()));
        }
        Ok(columns)
    }

    fn place(&self, name: &str) -> Option<usize> {
        NAMES.iter().zip(self.places).find(|(known, _)| **known == name).and_then(|(_, place)| place)
    }

    fn row(&self, mut record: Record) -> Result<ImportRow, CsvProblem> {
        let line = record.line;
        let wrong = |problem: &str| CsvProblem::new(line, problem);
        if record.fields.len() != self.count {
            let problem =
                format!("there are {} fields where the first line has {}: quote what holds a separator", record.fields.len(), self.count);
            return Err(wrong(&problem));
        }
        let password = self
            .place("password")
            .and_then(|place| record.fields.get_mut(place))
            .map(|field| core::mem::replace(field, SecretBytes::zeroed(0)));
        let value = |name: &str| {
            let value = self.place(name).and_then(|place| record.fields.get(place)).map(text).unwrap_or_default().trim();
            Some(value).filter(|value| !value.is_empty())
        };
        let file = value("file").ok_or_else(|| wrong("`file` is empty"))?;
        let upn = value("upn").filter(|upn| is_upn(upn)).ok_or_else(|| wrong("`upn` is not of the form user@domain"))?;
        if file.len() > 1_024 || file.chars().any(crate::ids::is_unprintable) {
            return Err(wrong("`file` is longer than 1,024 bytes or holds a control character"));
        }
        let given = password.filter(|password| !password.is_empty()).map(|password| PasswordSource::Given(Password::from(password)));
        let environment = value("password_env").map(|name| PasswordSource::Environment(name.to_owned()));
        let path = value("password_file").map(|path| PasswordSource::File(path.to_owned()));
        let mut sources = [given, environment, path].into_iter().flatten();
        let password = match (sources.next(), sources.next()) {
            (Some(source), None) => source,
            (None, _) => return Err(wrong("there is no password: fill `password`, `password_env` or `password_file`")),
            (Some(_), Some(_)) => return Err(wrong("there is more than one of `password`, `password_env` and `password_file`")),
        };
        let purpose = match value("purpose") {
            Some(name) => name.parse().map_err(|error: crate::adapters::graph::UnknownPurpose| wrong(&format!("`purpose`: {error}")))?,
            None => self.default_purpose.ok_or_else(|| wrong("`purpose` is empty, and no default is given"))?,
        };
        let hex = |text: &str| text.chars().filter(|c| !matches!(c, ':' | ' ')).collect::<String>();
        let thumbprint = value("thumbprint").map(|text| Thumbprint::try_from(hex(text)));
        let thumbprint = thumbprint.transpose().map_err(|_| wrong("`thumbprint` is not 40 hexadecimal digits"))?;
        let mail = value("mail");
        if mail.is_some_and(|mail| !is_upn(mail)) {
            return Err(wrong("`mail` is not of the form user@domain"));
        }
        let (file, upn, mail) = (file.to_owned(), upn.to_owned(), mail.map(str::to_owned));
        Ok(ImportRow { line, file, upn, mail, password, purpose, thumbprint })
    }
}

/// The reader lets nothing but UTF-8 through.
fn text(field: &SecretBytes) -> &str {
    core::str::from_utf8(field.secret_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ImportList, ListError> {
        ImportList::read(&SecretBytes::copy_from(text.as_bytes()), Some(IntendedPurpose::SmimeEncryption))
    }

    fn problem(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn columns_stand_in_any_order_and_a_password_keeps_its_blanks() {
        let list =
            read("UPN,Password,File,purpose\r\na@contoso.example, pass ,a.pfx,\r\n\r\nb@contoso.example,\"x,y\",b.p12,SmimeSigning\r\n");
        let rows = list.unwrap().rows;
        assert_eq!((rows[0].line, &*rows[0].file, rows[0].purpose), (2, "a.pfx", IntendedPurpose::SmimeEncryption));
        assert!(matches!(&rows[0].password, PasswordSource::Given(given) if given.secret_bytes() == b" pass "));
        assert_eq!((rows[1].line, rows[1].purpose), (4, IntendedPurpose::SmimeSigning));
        assert!(matches!(&rows[1].password, PasswordSource::Given(given) if given.secret_bytes() == b"x,y"));
    }

    #[test]
    fn every_problem_is_told_with_its_line_and_no_password_with_it() {
        let told = problem(
            "file,upn,password,password_env,thumbprint\n,a@x.example,hunter2-a,,\na,nobody,hunter2-b,,\na,a@x.example,,,\n\
             a,a@x.example,hunter2-c,VAR,\na,a@x.example,hunter2-d,,zz\na,a@x.example,hunter2-e\n",
        );
        let mail = problem("file,upn,password,mail\na,a@x.example,hunter2,a@\u{1b}[2Jx.example\n");
        assert!(mail.starts_with("line 2: `mail`") && !mail.contains('\u{1b}'), "{mail:?}");
        for (line, word) in [(2, "`file`"), (3, "`upn`"), (4, "no password"), (5, "more than one"), (6, "`thumbprint`"), (7, "3 fields")] {
            assert!(told.lines().any(|text| text.starts_with(&format!("line {line}: ")) && text.contains(word)), "{line} {word}: {told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_list_without_its_first_line_is_refused_without_quoting_it() {
        let told = problem("a.pfx,a@contoso.example,hunter2\n");
        assert!(told.starts_with("line 1: column 1 has none of the names") && !told.contains("hunter2"), "{told}");
        assert!(problem("").contains("empty"));
        assert!(problem("file,upn\n").contains("`password`"));
        assert!(problem("file,upn,password,FILE\n").contains("column 4"));
        let no_default = ImportList::read(&SecretBytes::copy_from(b"file,upn,password\n"), None);
        assert!(no_default.unwrap_err().to_string().contains("`purpose`"));
    }
}
