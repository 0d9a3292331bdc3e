//! What a sentinel knows: its masters, one of them, what it has decided about it, and all at once.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Look, Shared, no_such_master};
use crate::http::reply::{Path, Problem, Query, Refusal};
use crate::http::room::NO_ROOM;
use crate::http::view::{self, Master, MasterLine};
use crate::sentinel::core::{MasterView, Record};

/// `per_page` when it is not given, and at most.
const PER_PAGE: u16 = 50;
/// The most masters on one page.
const PER_PAGE_MAX: u16 = 500;

/// Which masters, and which page of them.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Only the master of this name.
    master: Option<String>,
    /// Only masters with this in their name, or in an address of their group.
    search: Option<String>,
    /// Only these.
    #[serde(default)]
    #[param(inline)]
    filter: Filter,
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<u32>,
    /// Masters on a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    per_page: Option<u16>,
}

/// Which masters by how they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Filter {
    /// All of them.
    #[default]
    All,
    /// Those with something amiss.
    Problems,
    /// Those whose automatic failovers are paused.
    Paused,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Page<T> {
    /// What is on it, by name.
    masters: Vec<T>,
    /// How many there are on all pages.
    found: usize,
    /// Which page this is, from 1.
    page: u32,
    /// How many there are on a page.
    per_page: u16,
    /// How many pages there are, at least 1.
    pages: usize,
}

impl PageQuery {
    fn page<T>(&self, look: &Look, show: impl Fn(&MasterView) -> T) -> Result<Page<T>, Refusal> {
        let per_page = self.per_page.unwrap_or(PER_PAGE);
        if !(1..=PER_PAGE_MAX).contains(&per_page) {
            return Err(Refusal::bad(format!(
                "per_page must be 1 to {PER_PAGE_MAX}"
            )));
        }
        let page = self.page.unwrap_or(1);
        let Some(before) = page.checked_sub(1) else {
            return Err(Refusal::bad("page must be at least 1"));
        };
        let view = &look.view;
        let found: Vec<&MasterView> = match &self.master {
            Some(name) => vec![view.master(name).ok_or_else(|| no_such_master(name))?],
            None => view.masters.iter().map(AsRef::as_ref).collect(),
        };
        let matches = |master: &&MasterView| {
            let wanted = self.search.as_deref().unwrap_or_default();
            wanted.is_empty() || is_match(master, &wanted.to_ascii_lowercase())
        };
        let passes = |master: &&MasterView| match self.filter {
            Filter::All => true,
            Filter::Problems => !view::problems(master, look.now).is_empty(),
            Filter::Paused => master.paused_until.is_some(),
        };
        let found = found.into_iter().filter(matches).filter(passes);
        let found: Vec<&MasterView> = found.collect();
        let size = usize::from(per_page);
        let skipped = usize::try_from(before)
            .unwrap_or(usize::MAX)
            .saturating_mul(size);
        let shown = found.iter().skip(skipped).take(size);
        Ok(Page {
            masters: shown.map(|master| show(master)).collect(),
            found: found.len(),
            page,
            per_page,
            pages: found.len().div_ceil(size).max(1),
        })
    }
}

/// Whether a master has the lower-case text `wanted` in its name or in an address of its group.
fn is_match(master: &MasterView, wanted: &str) -> bool {
    master.name.as_str().to_ascii_lowercase().contains(wanted)
        || (master.instances.iter())
            .map(|instance| view::address(&instance.host, instance.port))
            .any(|address| address.to_ascii_lowercase().contains(wanted))
}

/// The masters, one line each
#[utoipa::path(
    get,
    path = "/masters",
    tag = "state",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of them", body = Page<MasterLine>),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = NO_ROOM, body = Problem),
    )
)]
pub(super) async fn masters(
    State(shared): State<Shared>,
    Query(query): Query<PageQuery>,
) -> Result<Response, Refusal> {
    let look = shared.look();
    let page = query.page(&look, |master| MasterLine::new(master, look.now))?;
    shared.room.json(&page)
}

/// Everything about one master and its group
#[utoipa::path(
    get,
    path = "/masters/{name}",
    tag = "state",
    params(("name" = String, Path, description = "The name of the master")),
    responses(
        (status = 200, description = "The group", body = Master),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = NO_ROOM, body = Problem),
    )
)]
pub(super) async fn master(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let look = shared.look();
    shared
        .room
        .json(&Master::new(look.master(&name)?, look.now))
}

/// How far back.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// The most records: 1 to 1000. Default: all that are kept.
    #[param(minimum = 1, maximum = 1000, example = 10)]
    count: Option<usize>,
}

/// The decisions about a master.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct History {
    /// The newest first: what was seen by whom and when, votes, candidates, phases, and the reason where nothing
    /// was done.
    #[schema(value_type = Vec<Record>)]
    records: Vec<Arc<Record>>,
}

/// The decisions of this sentinel about a master, those not to act included
///
/// The same that `SENTINEL EXPLAIN` tells in words. They survive a restart.
#[utoipa::path(
    get,
    path = "/masters/{name}/history",
    tag = "state",
    params(("name" = String, Path, description = "The name of the master"), HistoryQuery),
    responses(
        (status = 200, description = "The records", body = History),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = NO_ROOM, body = Problem),
    )
)]
pub(super) async fn history(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Response, Refusal> {
    const COUNT_MAX: usize = 1000;
    let look = shared.look();
    let master = look.master(&name)?;
    let count = match query.count {
        Some(count) if !(1..=COUNT_MAX).contains(&count) => {
            return Err(Refusal::bad(format!("count must be 1 to {COUNT_MAX}")));
        }
        count => count.unwrap_or(COUNT_MAX),
    };
    shared.room.json(&History {
        records: master.records.iter().take(count).cloned().collect(),
    })
}

/// The sentinel and what it monitors.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Cluster {
    /// The sentinel that answers.
    sentinel: view::Sentinel,
    /// A page of what it monitors.
    #[serde(flatten)]
    page: Page<Master>,
}

/// The sentinel, and everything about a page of its masters
#[utoipa::path(
    get,
    path = "/cluster",
    tag = "state",
    params(PageQuery),
    responses(
        (status = 200, description = "The page", body = Cluster),
        (status = 400, description = "A parameter makes no sense", body = Problem),
        (status = 404, description = "There is no such master", body = Problem),
        (status = 503, description = NO_ROOM, body = Problem),
    )
)]
pub(super) async fn cluster(
    State(shared): State<Shared>,
    Query(query): Query<PageQuery>,
) -> Result<Response, Refusal> {
    let look = shared.look();
    let page = query.page(&look, |master| Master::new(master, look.now))?;
    let can_act = shared.token.is_set();
    let sentinel = view::Sentinel::new(&look.view, look.beat, look.now, can_act);
    shared.room.json(&Cluster { sentinel, page })
}
