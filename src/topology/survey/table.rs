//! A survey as text.

use super::{Flagged, Group, Health, Member, OBSERVES, OK, PAUSED, Paused, Survey};
use crate::sentinel::core::PausedUntil;
use crate::topology::paint::{Cell, Paint, Tone, columns, heads, printable};

/// The tone of a member's state.
pub fn tone_of(state: &str) -> Tone {
    if state == OK {
        Tone::Good
    } else if [Flagged::FailoverInProgress.as_str(), OBSERVES, PAUSED].contains(&state) {
        Tone::Warn
    } else {
        Tone::Bad
    }
}

/// How many characters of an id the table shows; JSON has all.
const ID_SHOWN: usize = 12;

impl Survey {
    /// The survey as text: a table for each master, and what is wrong.
    pub fn table(&self, paint: Paint) -> String {
        let mut text = String::new();
        for group in &self.masters {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&group.table(paint));
        }
        match self.masters.len() {
            0 => text.push_str(&format!("{} monitors no masters\n", self.asked)),
            1 => {}
            count => {
                let with = |state| self.masters.iter().filter(|g| g.state == state).count();
                text.push_str(&format!(
                    "\n{count} masters: {} ok, {} degraded, {} without a master\n",
                    with(Health::Ok),
                    with(Health::Degraded),
                    with(Health::NoMaster)
                ));
            }
        }
        text
    }
}

impl Group {
    /// That automatic failovers are paused, if they are, until when, and where if several were asked.
    pub fn paused_line(&self) -> Option<String> {
        let Paused {
            until_ms,
            sentinels,
            known,
            silent,
            is_one_end,
        } = self.paused.as_ref()?;
        let until = PausedUntil::from_number(until_ms.unwrap_or(0));
        let latest = if *is_one_end { "" } else { " at the latest" };
        let by = match (sentinels.len(), known) {
            (_, 1) => String::new(),
            (count, known) if count == *known => format!(", on all {known} sentinels"),
            (count, known) => {
                let which = printable(&sentinels.join(", "));
                let unheard = match silent {
                    0 => String::new(),
                    silent => format!(" ({silent} did not answer)"),
                };
                format!(", on {count} of {known} sentinels{unheard}: {which}")
            }
        };
        Some(format!(
            "automatic failovers are paused {until}{latest}{by}"
        ))
    }

    pub(super) fn table(&self, paint: Paint) -> String {
        let counts = |member: &&Member| member.role == "sentinel" && member.state != OBSERVES;
        let sentinels = self.members.iter().filter(counts).count();
        let mut text = format!(
            "{}: master {}, quorum {} of {sentinels} sentinels\n",
            printable(&self.name),
            printable(&self.address),
            self.quorum
        );
        let mut rows = vec![heads(&[
            "ROLE", "ADDRESS", "ID", "PID", "STATE", "LAG", "LOG",
        ])];
        rows.extend(self.members.iter().map(Member::row));
        for line in columns(&rows, paint) {
            text.push_str(&line);
            text.push('\n');
        }
        let tone = match self.state {
            Health::Ok | Health::Degraded => Tone::Warn,
            Health::NoMaster => Tone::Bad,
        };
        if let Some(paused) = self.paused_line() {
            text.push_str(&paint.text(Tone::Warn, &paused));
            text.push('\n');
        }
        for problem in &self.problems {
            text.push_str(&paint.text(tone, &format!("! {}", printable(problem))));
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(&paint.text(Tone::Warn, &format!("* {}", printable(note))));
            text.push('\n');
        }
        text
    }
}

impl Member {
    fn row(&self) -> Vec<Cell> {
        let id: String = self.id.chars().take(ID_SHOWN).collect();
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        vec![
            Cell::plain(self.role),
            Cell::plain(&self.address),
            Cell::plain(id),
            Cell::plain(number(self.pid.map(u64::from))),
            Cell::new(tone_of(&self.state), &self.state),
            Cell::plain(number(self.lag)),
            Cell::plain(self.log.as_deref().unwrap_or_default()),
        ]
    }
}
