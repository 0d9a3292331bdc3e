//! The screen of `sentinel top` as lines. Pure.

use super::super::terminal::Size;
use super::model::Model;
use crate::topology::{
    Cell, Group, Paint, Summary, Tone, columns, event_label, heads, printable, tone_of,
};

/// The least that is shown of the masters, however many members the selected one has. Lines.
const MASTERS_MIN: usize = 3;
/// The most that is shown of the events. Lines.
const EVENTS_LINES_MAX: usize = 8;

/// All lines. Scrolls the model to what is in view.
pub(super) fn screen(model: &mut Model, size: Size, paint: Paint) -> Vec<String> {
    // The first line, the heading of the masters, and the last line.
    let room = size.rows.saturating_sub(3);
    let events = (room / 3).min(EVENTS_LINES_MAX);
    let details = model
        .group()
        .map_or_else(Vec::new, |group| details(group, paint));
    let details_room = room.saturating_sub(events + MASTERS_MIN).min(details.len());
    let page = room.saturating_sub(events + details_room).max(1);
    model.scroll(page);

    let mut lines = vec![summary(model, paint)];
    lines.extend(masters(model, page, size.columns, paint));
    lines.resize(2 + page, String::new());
    lines.extend(details.into_iter().take(details_room));
    lines.extend(latest(model, events, paint));
    lines.resize(size.rows.saturating_sub(1), String::new());
    lines.push(footer(model, paint));
    lines.truncate(size.rows);
    lines
}

fn summary(model: &Model, paint: Paint) -> String {
    if let Some(failure) = &model.failure {
        let text = format!("no sentinel answers: {}", printable(failure));
        return paint.text(Tone::Bad, &text);
    }
    let Some(asked) = &model.asked else {
        return "asking…".to_owned();
    };
    let bad = model
        .masters
        .iter()
        .filter(|master| tone_of(master.state) == Tone::Bad);
    let (count, bad) = (model.masters.len(), bad.count());
    let masters = if count == 1 { "master" } else { "masters" };
    let state = match bad {
        0 => paint.text(Tone::Good, "all up"),
        bad => paint.text(Tone::Bad, &format!("{bad} down")),
    };
    format!("sentinel {asked}: {count} {masters}, {state}")
}

fn masters(model: &Model, page: usize, width: usize, paint: Paint) -> Vec<String> {
    let shown = model.shown();
    let names = [
        "MASTER",
        "ADDRESS",
        "STATE",
        "REPLICAS",
        "SENTINELS",
        "QUORUM",
        "EPOCH",
    ];
    let mut rows = vec![heads(&names)];
    let in_view = shown.iter().skip(model.top).take(page);
    rows.extend(in_view.map(|master| row(master)));
    let selected = model
        .position()
        .and_then(|at| at.checked_sub(model.top))
        .map(|at| at + 1);
    let plain = columns(&rows, Paint::OFF);
    let painted = columns(&rows, paint);
    let line = |(at, line): (usize, String)| match selected {
        Some(selected) if selected == at && paint == Paint::ON => {
            paint.text(Tone::Selected, &format!("{:width$}", plain[at]))
        }
        Some(selected) if selected == at => format!("{line} <"),
        Some(_) | None => line,
    };
    painted.into_iter().enumerate().map(line).collect()
}

fn row(master: &Summary) -> Vec<Cell> {
    vec![
        Cell::plain(&master.name),
        Cell::plain(&master.address),
        Cell::new(tone_of(master.state), master.state),
        Cell::plain(master.replicas.to_string()),
        Cell::plain(master.sentinels.to_string()),
        Cell::plain(master.quorum.to_string()),
        Cell::plain(master.epoch.to_string()),
    ]
}

/// The members of the selected master, and what is wrong.
fn details(group: &Group, paint: Paint) -> Vec<String> {
    let mut rows = vec![heads(&["ROLE", "ADDRESS", "STATE", "LAG"])];
    rows.extend(group.members.iter().map(|member| {
        vec![
            Cell::plain(member.role),
            Cell::plain(&member.address),
            Cell::new(tone_of(&member.state), &member.state),
            Cell::plain(member.lag.map_or_else(String::new, |lag| lag.to_string())),
        ]
    }));
    let title = format!("── {} ", printable(&group.name));
    let mut lines = vec![paint.text(Tone::Dim, &title)];
    lines.extend(columns(&rows, paint));
    let paused = group.paused_line();
    lines.extend(paused.map(|paused| paint.text(Tone::Warn, &paused)));
    let problems = group.problems.iter();
    lines.extend(
        problems.map(|problem| paint.text(Tone::Bad, &format!("! {}", printable(problem)))),
    );
    let notes = group.notes.iter();
    lines.extend(notes.map(|note| paint.text(Tone::Warn, &format!("* {}", printable(note)))));
    lines
}

/// The newest events, the last of them below.
fn latest(model: &Model, room: usize, paint: Paint) -> Vec<String> {
    let Some(room) = room.checked_sub(1) else {
        return Vec::new();
    };
    let mut lines = vec![paint.text(Tone::Dim, "── events ")];
    let events = model
        .events
        .iter()
        .skip(model.events.len().saturating_sub(room));
    lines.extend(events.map(|note| {
        let time = crate::net::local_time(note.at);
        let event = event_label(&note.event, 20, paint);
        format!("{time}  {event}{}", printable(&note.text))
    }));
    lines
}

fn footer(model: &Model, paint: Paint) -> String {
    if model.is_filtering {
        return format!(
            "/{}▏ Enter keeps it, Esc shows all",
            printable(&model.filter)
        );
    }
    let shown = model.shown().len();
    let place = match model.position() {
        Some(at) => format!("{} of {shown}", at + 1),
        None => format!("none of {shown}"),
    };
    let filter = match model.filter.as_str() {
        "" => String::new(),
        filter => format!(" with \"{}\" (Esc shows all)", printable(filter)),
    };
    paint.text(
        Tone::Dim,
        &format!("{place}{filter}   ↑ ↓ PgUp PgDn select   / filter   q quit"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::model;
    use super::*;
    use crate::clock::UnixMillis;
    use crate::topology::{Health, Member};

    fn group(name: &str, replicas: usize) -> Group {
        let member = |role, port: usize, lag| Member {
            role,
            address: format!("10.0.0.1:{port}"),
            id: String::new(),
            pid: None,
            state: "ok".to_owned(),
            lag,
            log: None,
        };
        let mut members = vec![member("master", 6000, None)];
        members.extend((0..replicas).map(|at| member("replica", 7000 + at, Some(17))));
        Group {
            name: name.to_owned(),
            address: "10.0.0.1:6000".to_owned(),
            quorum: 2,
            state: Health::Ok,
            paused: None,
            problems: vec!["something".to_owned()],
            notes: vec!["a note".to_owned()],
            members,
        }
    }

    #[test]
    fn everything_has_its_place() {
        let mut model = model(100);
        model.set_group(group("m0000", 2));
        model.add_note(UnixMillis(0), "+sdown", "the event".to_owned());
        let size = Size {
            columns: 80,
            rows: 30,
        };
        let lines = screen(&mut model, size, Paint::OFF);
        assert_eq!(lines.len(), 30);
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        assert!(
            lines[0].contains("127.0.0.1:26379: 100 masters, 1 down"),
            "{}",
            lines[0]
        );
        assert!(
            lines[2].starts_with("m0000") && lines[2].ends_with(" <"),
            "{}",
            lines[2]
        );
        for part in [
            "replica",
            "17",
            "! something",
            "* a note",
            "the event",
            "1 of 100",
        ] {
            assert!(has(part), "{part}: {lines:#?}");
        }
    }

    #[test]
    fn it_fits_into_every_terminal() {
        for rows in 1..60 {
            let mut model = model(1000);
            model.set_group(group("m0000", 50));
            for _ in 0..20 {
                model.add_note(UnixMillis(0), "+sdown", "x".to_owned());
            }
            let lines = screen(&mut model, Size { columns: 20, rows }, Paint::ON);
            assert_eq!(lines.len(), rows);
        }
    }

    #[test]
    fn a_failure_is_said_first() {
        let mut model = model(1);
        model.set_failure("127.0.0.1:26379: Connection refused".to_owned());
        let lines = screen(
            &mut model,
            Size {
                columns: 80,
                rows: 24,
            },
            Paint::OFF,
        );
        assert!(
            lines[0].starts_with("no sentinel answers: 127.0.0.1:26379"),
            "{}",
            lines[0]
        );
    }
}
