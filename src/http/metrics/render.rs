//! The two text formats: Prometheus 0.0.4 and OpenMetrics 1.0.

use std::fmt::Write;

use axum::http::{HeaderMap, header};

use super::{Family, Kind, Sample, Value};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4, which every scraper reads.
    Text,
    /// OpenMetrics 1.0, for those who ask for it.
    OpenMetrics,
}

impl Format {
    /// The format that a request prefers.
    pub fn of(headers: &HeaderMap) -> Format {
        let accept = headers.get(header::ACCEPT);
        Format::accepted(
            accept
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
        )
    }

    /// The format that an `Accept` field prefers. Who accepts neither gets the text.
    pub fn accepted(accept: &str) -> Format {
        let (mut text, mut open) = (0, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1000, None);
            for part in parts {
                match part.split_once('=') {
                    Some(("q" | "Q", value)) => weight = thousandths(value),
                    Some(("version", value)) => version = Some(value.trim_matches('"')),
                    _ => {}
                }
            }
            let best = match (&*media, version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => &mut open,
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => &mut text,
                _ => continue,
            };
            *best = weight.max(*best);
        }
        if open > 0 && open >= text {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight between 0 and 1 as 0 to 1000; one that makes no sense counts as 1.
fn thousandths(text: &str) -> u16 {
    match text.split_once('.') {
        None => text.parse().map_or(1000, |n: u16| n.min(1) * 1000),
        Some(("0", digits)) => {
            let digits = digits.get(..3).unwrap_or(digits);
            format!("{digits:0<3}").parse().unwrap_or(1000)
        }
        Some(_) => 1000,
    }
}

/// Writes families, each name once.
pub fn render(families: &[Family<'_>], format: Format) -> String {
    let mut out = String::new();
    for family in families {
        if !family.samples.is_empty() {
            render_family(&mut out, family, format);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn render_family(out: &mut String, family: &Family<'_>, format: Format) {
    let name = &*family.name;
    let (shown, kind) = match (format, family.kind) {
        (Format::Text, kind) => (name, kind_word(kind)),
        (Format::OpenMetrics, Kind::Counter) => match name.strip_suffix("_total") {
            Some(stem) => (stem, "counter"),
            // Every counter of OpenMetrics ends in `_total`; other names keep working as what they may also be.
            None => (name, "unknown"),
        },
        (Format::OpenMetrics, kind) => (name, kind_word(kind)),
    };
    let _ = write!(out, "# HELP {shown} ");
    escape(out, &family.help, format == Format::OpenMetrics);
    let _ = write!(out, "\n# TYPE {shown} {kind}\n");
    for Sample { labels, value } in &family.samples {
        match value {
            Value::Number(number) => line(out, name, "", labels, None, *number, format),
            Value::Distribution { points, count, sum } => {
                let (suffix, label) = match family.kind {
                    Kind::Histogram => ("_bucket", "le"),
                    Kind::Counter | Kind::Gauge | Kind::Summary => ("", "quantile"),
                };
                for (bound, value) in points {
                    let extra = Some((label, *bound));
                    line(out, name, suffix, labels, extra, *value, format);
                }
                let count = super::number(*count);
                if family.kind == Kind::Histogram {
                    let extra = Some((label, f64::INFINITY));
                    line(out, name, suffix, labels, extra, count, format);
                }
                line(out, name, "_sum", labels, None, *sum, format);
                line(out, name, "_count", labels, None, count, format);
            }
        }
    }
}

/// Its name in both formats.
pub(super) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Summary => "summary",
    }
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&'static str, std::borrow::Cow<'_, str>)],
    extra: Option<(&str, f64)>,
    value: f64,
    format: Format,
) {
    out.push_str(name);
    out.push_str(suffix);
    let mut before = '{';
    for (label, text) in labels {
        out.push(before);
        let _ = write!(out, "{label}=\"");
        escape(out, text, true);
        out.push('"');
        before = ',';
    }
    if let Some((label, bound)) = extra {
        out.push(before);
        let _ = write!(out, "{label}=\"");
        push_number(out, bound);
        // In OpenMetrics bounds are floating-point numbers in their canonical form.
        if format == Format::OpenMetrics && bound.is_finite() && bound.fract() == 0.0 {
            out.push_str(".0");
        }
        out.push('"');
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    out.push(' ');
    push_number(out, value);
    out.push('\n');
}

fn push_number(out: &mut String, value: f64) {
    let _ = if value.is_infinite() {
        write!(out, "{}Inf", if value > 0.0 { '+' } else { '-' })
    } else {
        write!(out, "{value}")
    };
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Vec<Family<'static>> {
        let mut by_name = Family::gauge("a_ratio", "Two \"lines\"\nand a \\");
        by_name.add([("name", "x\"y\\z\n")], 0.5);
        by_name.add([("name", "")], f64::INFINITY);
        let mut times = Family::histogram("t_seconds", "Times");
        let value = Value::Distribution {
            points: vec![(0.5, 1.0), (1.0, 3.0)],
            count: 4,
            sum: 7.25,
        };
        times.push([("phase", "p".into())], value.clone());
        let mut quantiles = Family::new("q_usec", Kind::Summary, "Quantiles");
        quantiles.push([], value);
        vec![
            Family::counter("c_total", "Counted").of(3.0),
            Family::counter("c_odd", "Counted").of(9_007_199_254_740_991.0),
            by_name,
            Family::gauge("nothing", "Without samples"),
            times,
            quantiles,
        ]
    }

    #[test]
    fn prometheus_text() {
        let expected = r#"# HELP c_total Counted
# TYPE c_total counter
c_total 3
# HELP c_odd Counted
# TYPE c_odd counter
c_odd 9007199254740991
# HELP a_ratio Two "lines"\nand a \\
# TYPE a_ratio gauge
a_ratio{name="x\"y\\z\n"} 0.5
a_ratio{name=""} +Inf
# HELP t_seconds Times
# TYPE t_seconds histogram
t_seconds_bucket{phase="p",le="0.5"} 1
t_seconds_bucket{phase="p",le="1"} 3
t_seconds_bucket{phase="p",le="+Inf"} 4
t_seconds_sum{phase="p"} 7.25
t_seconds_count{phase="p"} 4
# HELP q_usec Quantiles
# TYPE q_usec summary
q_usec{quantile="0.5"} 1
q_usec{quantile="1"} 3
q_usec_sum 7.25
q_usec_count 4
"#;
        assert_eq!(render(&families(), Format::Text), expected);
    }

    #[test]
    fn open_metrics() {
        let text = render(&families(), Format::OpenMetrics);
        for line in [
            "# HELP c Counted",
            "# TYPE c counter",
            "c_total 3",
            "# TYPE c_odd unknown",
            r#"# HELP a_ratio Two \"lines\"\nand a \\"#,
            r#"t_seconds_bucket{phase="p",le="1.0"} 3"#,
            r#"t_seconds_bucket{phase="p",le="+Inf"} 4"#,
            r#"q_usec{quantile="1.0"} 3"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn the_scraper_chooses() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text; q=0", Format::Text),
            ("application/openmetrics-text;version=2.0.0", Format::Text),
            (
                "application/openmetrics-text;q=0.3,text/plain;q=0.31",
                Format::Text,
            ),
            (
                "text/plain;q=0.5, Application/OpenMetrics-Text;q=0.75",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }
}
