//! The ready [`Form`]s: how values of the common types are written, with redis-server's own errors.

use std::fmt::Display;
use std::marker::PhantomData;
use std::num::IntErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::directive::{Form, When};
use super::errors::Refusal;

/// `yes` or `no`.
pub struct YesNo;

impl Form for YesNo {
    type Value = bool;

    fn parse(&self, words: &[&str], _: When, value: &mut bool) -> Result<(), Refusal> {
        *value =
            parse_yes_no(words[0]).ok_or_else(|| Refusal::new("argument must be 'yes' or 'no'"))?;
        Ok(())
    }

    fn show(&self, value: &bool) -> String {
        show_yes_no(*value).to_owned()
    }

    fn expected(&self) -> String {
        "yes or no".to_owned()
    }
}

/// `yes` or `no`, in any case.
pub fn parse_yes_no(word: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case("yes") {
        Some(true)
    } else if word.eq_ignore_ascii_case("no") {
        Some(false)
    } else {
        None
    }
}

/// `yes` or `no`.
pub fn show_yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// A whole number within bounds.
pub struct Number<T> {
    least: i64,
    most: i64,
    of: PhantomData<fn() -> T>,
}

impl<T: TryFrom<i64>> Number<T> {
    /// From `least` to `most`, both included.
    pub fn between(least: impl Into<i64>, most: impl Into<i64>) -> Number<T> {
        let (least, most) = (least.into(), most.into());
        assert!(
            T::try_from(least).is_ok() && T::try_from(most).is_ok(),
            "the field of a number must hold its bounds"
        );
        Number {
            least,
            most,
            of: PhantomData,
        }
    }
}

impl<T> Form for Number<T>
where
    T: TryFrom<i64> + Display + Clone + PartialEq + 'static,
{
    type Value = T;

    fn parse(&self, words: &[&str], _: When, value: &mut T) -> Result<(), Refusal> {
        *value = bounded(words[0], self.least, self.most)
            .map(|number| T::try_from(number).ok())?
            .expect("the bounds were checked when the form was made");
        Ok(())
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn expected(&self) -> String {
        expected_between(self.least, self.most)
    }
}

fn bounded(word: &str, least: i64, most: i64) -> Result<i64, Refusal> {
    let number: i64 = parse_integer(word)
        .ok_or_else(|| Refusal::new("argument couldn't be parsed into an integer"))?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Refusal::new(format!(
            "argument must be between {least} and {most} inclusive"
        )))
    }
}

fn expected_between(least: i64, most: i64) -> String {
    if most == i64::MAX {
        format!("a whole number from {least}")
    } else {
        format!("a whole number from {least} to {most}")
    }
}

/// A whole number in its only spelling: no blanks, no `+`, no leading zeros.
pub fn parse_integer<T: std::str::FromStr + ToString>(word: &str) -> Option<T> {
    let number: T = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

/// A whole number as C's `strtol` reads it, as some of redis-server's settings have it: white space and a sign before it,
/// the nearest one for what is too large, and 0 for nothing.
pub fn parse_leniently(word: &str) -> Option<i64> {
    if word.is_empty() {
        return Some(0);
    }
    let digits = word.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    match digits.parse::<i64>() {
        Ok(number) => Some(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Some(i64::MAX),
        Err(error) if *error.kind() == IntErrorKind::NegOverflow => Some(i64::MIN),
        Err(_) => None,
    }
}

/// Whole seconds; what zero means is the directive's affair.
pub struct Seconds {
    least: i64,
    most: i64,
}

impl Seconds {
    /// From `least` to `most` seconds.
    pub fn between(least: i64, most: impl Into<i64>) -> Seconds {
        Seconds {
            least: least.max(0),
            most: most.into(),
        }
    }
}

impl Form for Seconds {
    type Value = Duration;

    fn parse(&self, words: &[&str], _: When, value: &mut Duration) -> Result<(), Refusal> {
        *value = Duration::from_secs(bounded(words[0], self.least, self.most)?.unsigned_abs());
        Ok(())
    }

    fn show(&self, value: &Duration) -> String {
        value.as_secs().to_string()
    }

    fn expected(&self) -> String {
        format!("{}, in seconds", expected_between(self.least, self.most))
    }
}

/// Whole milliseconds; what zero means is the directive's affair.
pub struct Milliseconds {
    least: i64,
    most: i64,
}

impl Milliseconds {
    /// From `least` to `most` milliseconds.
    pub fn between(least: i64, most: impl Into<i64>) -> Milliseconds {
        Milliseconds {
            least: least.max(0),
            most: most.into(),
        }
    }
}

impl Form for Milliseconds {
    type Value = Duration;

    fn parse(&self, words: &[&str], _: When, value: &mut Duration) -> Result<(), Refusal> {
        *value = Duration::from_millis(bounded(words[0], self.least, self.most)?.unsigned_abs());
        Ok(())
    }

    fn show(&self, value: &Duration) -> String {
        value.as_millis().to_string()
    }

    fn expected(&self) -> String {
        format!(
            "{}, in milliseconds",
            expected_between(self.least, self.most)
        )
    }
}

/// Bytes: a number with an optional `b`, `k`, `kb`, `m`, `mb`, `g`, `gb`.
pub struct Memory {
    least: u64,
    most: u64,
}

impl Memory {
    /// Up to `most` bytes.
    pub fn at_most(most: u64) -> Memory {
        Memory::between(0, most)
    }

    /// From `least` to `most` bytes, both included.
    pub fn between(least: u64, most: u64) -> Memory {
        Memory { least, most }
    }
}

/// Bytes: a number with an optional unit in any case. `k`, `m`, `g` are powers of 1000; `kb`, `mb`, `gb`
/// of 1024, as in redis.conf. Without digits it is 0.
pub fn parse_memory(word: &str) -> Option<u64> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let unit: u64 = match word[digits..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    let number = match digits {
        0 => 0,
        // All that can be wrong with digits is that there are too many.
        _ => word[..digits].parse::<u64>().unwrap_or(u64::MAX),
    };
    Some(number.saturating_mul(unit))
}

/// Bytes with the largest unit that divides them, as redis-server writes them into a file.
pub fn show_memory(bytes: u64) -> String {
    for (unit, name) in [(1_u64 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
        if bytes != 0 && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

impl Form for Memory {
    type Value = u64;

    fn parse(&self, words: &[&str], _: When, value: &mut u64) -> Result<(), Refusal> {
        let bytes = parse_memory(words[0])
            .ok_or_else(|| Refusal::new("argument must be a memory value"))?;
        if !(self.least..=self.most).contains(&bytes) {
            return Err(Refusal::new(format!(
                "argument must be between {} and {} inclusive",
                self.least, self.most
            )));
        }
        *value = bytes;
        Ok(())
    }

    fn show(&self, value: &u64) -> String {
        value.to_string()
    }

    fn lines(&self, value: &u64) -> Vec<Vec<String>> {
        vec![vec![show_memory(*value)]]
    }

    fn expected(&self) -> String {
        "bytes, such as 1048576, 1024kb or 1gb".to_owned()
    }
}

/// One of a few words, in any case.
pub struct Choice<T: 'static> {
    words: &'static [(&'static str, T)],
}

impl<T: Copy + PartialEq + Send + Sync> Choice<T> {
    /// The words and what they mean. Of several with one meaning the first is written.
    pub fn of(words: &'static [(&'static str, T)]) -> Choice<T> {
        Choice { words }
    }

    fn listed(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|(word, _)| *word).collect();
        words.join(", ")
    }
}

impl<T: Copy + PartialEq + Send + Sync + 'static> Form for Choice<T> {
    type Value = T;

    fn parse(&self, words: &[&str], _: When, value: &mut T) -> Result<(), Refusal> {
        let (_, meant) = self
            .words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(words[0]))
            .ok_or_else(|| {
                Refusal::new(format!(
                    "argument(s) must be one of the following: {}",
                    self.listed()
                ))
            })?;
        *value = *meant;
        Ok(())
    }

    fn show(&self, value: &T) -> String {
        let found = self.words.iter().find(|(_, meant)| meant == value);
        found.map_or("", |(word, _)| *word).to_owned()
    }

    fn expected(&self) -> String {
        format!("one of {}", self.listed())
    }
}

/// A switch that cannot be turned on, and why.
pub struct AlwaysNo(pub &'static str);

impl Form for AlwaysNo {
    type Value = bool;

    fn parse(&self, words: &[&str], when: When, value: &mut bool) -> Result<(), Refusal> {
        let mut wanted = false;
        YesNo.parse(words, when, &mut wanted)?;
        if wanted {
            return Err(Refusal::new(self.0));
        }
        *value = false;
        Ok(())
    }

    fn show(&self, value: &bool) -> String {
        YesNo.show(value)
    }

    fn expected(&self) -> String {
        "no".to_owned()
    }
}

/// Any text; the empty one is a value like others.
pub struct Text;

impl Form for Text {
    type Value = String;

    fn parse(&self, words: &[&str], _: When, value: &mut String) -> Result<(), Refusal> {
        words[0].clone_into(value);
        Ok(())
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }

    fn expected(&self) -> String {
        "text".to_owned()
    }
}

/// Text; the empty one is none, for which there is no line.
pub struct TextOrNone;

impl Form for TextOrNone {
    type Value = String;

    fn parse(&self, words: &[&str], when: When, value: &mut String) -> Result<(), Refusal> {
        Text.parse(words, when, value)
    }

    fn show(&self, value: &String) -> String {
        Text.show(value)
    }

    fn lines(&self, value: &String) -> Vec<Vec<String>> {
        line_unless_empty(Text.show(value))
    }

    fn expected(&self) -> String {
        Text.expected()
    }
}

/// No line for what is not set, as redis-server has it: the default of such a directive is to have none.
fn line_unless_empty(shown: String) -> Vec<Vec<String>> {
    match shown.is_empty() {
        true => Vec::new(),
        false => vec![vec![shown]],
    }
}

/// Text; the empty one unsets.
pub struct OptionalText;

impl Form for OptionalText {
    type Value = Option<Arc<str>>;

    fn parse(&self, words: &[&str], _: When, value: &mut Self::Value) -> Result<(), Refusal> {
        *value = (!words[0].is_empty()).then(|| Arc::from(words[0]));
        Ok(())
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_deref().unwrap_or_default().to_owned()
    }

    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        line_unless_empty(self.show(value))
    }

    fn expected(&self) -> String {
        "text, or \"\" for none".to_owned()
    }
}

/// A path; the empty one unsets. Whether it exists is not looked at.
pub struct OptionalPath;

impl Form for OptionalPath {
    type Value = Option<PathBuf>;

    fn parse(&self, words: &[&str], _: When, value: &mut Self::Value) -> Result<(), Refusal> {
        *value = (!words[0].is_empty()).then(|| PathBuf::from(words[0]));
        Ok(())
    }

    fn show(&self, value: &Self::Value) -> String {
        let path = value.as_deref().unwrap_or_else(|| "".as_ref());
        path.to_string_lossy().into_owned()
    }

    fn lines(&self, value: &Self::Value) -> Vec<Vec<String>> {
        line_unless_empty(self.show(value))
    }

    fn expected(&self) -> String {
        "a path, or \"\" for none".to_owned()
    }
}

/// A folder that exists.
pub struct Folder;

impl Form for Folder {
    type Value = PathBuf;

    fn parse(&self, words: &[&str], _: When, value: &mut PathBuf) -> Result<(), Refusal> {
        let path = PathBuf::from(words[0]);
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(Refusal::new("Not a directory")),
            Err(error) => return Err(Refusal::new(os_text(&error))),
        }
        *value = path;
        Ok(())
    }

    fn show(&self, value: &PathBuf) -> String {
        value.to_string_lossy().into_owned()
    }

    fn expected(&self) -> String {
        "an existing folder".to_owned()
    }
}

/// The operating system's words for an error, without Rust's `(os error 2)`.
pub fn os_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Several words on one line; each line replaces what was there.
pub struct Words {
    /// How many at most.
    pub most: usize,
    /// What is said of more.
    pub too_many: &'static str,
    /// What each of them is.
    pub expected: &'static str,
}

impl Form for Words {
    type Value = Vec<String>;

    fn arity(&self) -> (usize, usize) {
        (0, usize::MAX)
    }

    fn parse(&self, words: &[&str], _: When, value: &mut Vec<String>) -> Result<(), Refusal> {
        if words.len() > self.most {
            return Err(Refusal::new(self.too_many));
        }
        *value = match words {
            [""] => Vec::new(),
            words => words.iter().map(|&word| word.to_owned()).collect(),
        };
        Ok(())
    }

    fn show(&self, value: &Vec<String>) -> String {
        value.join(" ")
    }

    fn lines(&self, value: &Vec<String>) -> Vec<Vec<String>> {
        if value.is_empty() {
            vec![vec![String::new()]]
        } else {
            vec![value.clone()]
        }
    }

    fn expected(&self) -> String {
        format!("up to {} of: {}", self.most, self.expected)
    }
}

/// An octal file mode.
pub struct FileMode;

impl Form for FileMode {
    type Value = u32;

    fn parse(&self, words: &[&str], _: When, value: &mut u32) -> Result<(), Refusal> {
        const MODE_MAX: u32 = 0o777;
        let mode = u32::from_str_radix(words[0], 8)
            .ok()
            .filter(|_| words[0].bytes().all(|b| b.is_ascii_digit()))
            .ok_or_else(|| Refusal::new("argument couldn't be parsed as an octal number"))?;
        if mode > MODE_MAX {
            return Err(Refusal::new("argument must be between 0 and 777 inclusive"));
        }
        *value = mode;
        Ok(())
    }

    fn show(&self, value: &u32) -> String {
        format!("{value:o}")
    }

    fn expected(&self) -> String {
        "an octal mode such as 700".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `word` and shows it again, or gives the reason of the refusal.
    fn check<F: Form>(form: &F, mut value: F::Value, word: &str) -> String {
        match form.parse(&[word], When::RunTime, &mut value) {
            Ok(()) => form.show(&value),
            Err(refusal) => refusal.reason,
        }
    }

    #[test]
    fn numbers_are_strict() {
        let port = Number::<u16>::between(0, u16::MAX);
        assert_eq!(check(&port, 0, "6379"), "6379");
        for word in ["", "x", "+1", "01", " 1", "1 ", "0x10", "1.0"] {
            assert_eq!(
                check(&port, 0, word),
                "argument couldn't be parsed into an integer",
                "{word:?}"
            );
        }
        assert_eq!(
            check(&port, 0, "65536"),
            "argument must be between 0 and 65535 inclusive"
        );
    }

    #[test]
    fn memory_has_two_kinds_of_units() {
        let memory = Memory::at_most(u64::MAX);
        assert_eq!(check(&memory, 0, "1k"), "1000");
        assert_eq!(check(&memory, 0, "1Kb"), "1024");
        assert_eq!(check(&memory, 0, "3gb"), "3221225472");
        assert_eq!(check(&memory, 0, "1zz"), "argument must be a memory value");
        assert_eq!(check(&memory, 0, "99999999999gb"), u64::MAX.to_string());
        assert_eq!(
            check(&Memory::at_most(1 << 40), 0, "99999999999999999999"),
            "argument must be between 0 and 1099511627776 inclusive"
        );
        assert_eq!(show_memory(3 << 30), "3gb");
        assert_eq!(show_memory(1500), "1500");
        assert_eq!(show_memory(0), "0");
    }

    #[test]
    fn a_lenient_number_is_read_as_by_strtol() {
        for (word, want) in [
            ("", Some(0)),
            ("+5", Some(5)),
            ("-0", Some(0)),
            ("\t 07", Some(7)),
            ("99999999999999999999", Some(i64::MAX)),
            ("-99999999999999999999", Some(i64::MIN)),
            (" ", None),
            ("+", None),
            ("5 ", None),
            ("0x5", None),
        ] {
            assert_eq!(parse_leniently(word), want, "{word:?}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(check(&FileMode, 0, "700"), "700");
        assert_eq!(
            check(&FileMode, 0, "999"),
            "argument couldn't be parsed as an octal number"
        );
        assert_eq!(
            check(&FileMode, 0, "7777"),
            "argument must be between 0 and 777 inclusive"
        );
    }
}
