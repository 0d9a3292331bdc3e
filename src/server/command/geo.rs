//! Places: sorted sets whose scores are geohashes.

use std::cmp::Ordering;

use super::args::{Failure, SYNTAX, integer, number, word};
use super::geohash::{Place, Region, Shape};
use super::partial_sort::sort_range;
use super::sorted_set_algebra::sorted_set;
use super::sorted_set_ranges::store_result;
use super::sorted_sets::{CH, KEY_RO, NX, XX, add, add_options};
use super::strings::finish;
use super::strtod::{double, float};
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::resp::{Protocol, Word};
use crate::server::Server;
use crate::server::keyspace::{Key, SortedSet};

type Spec = CommandSpec<Server>;

/// The keys of `GEORADIUS` and `GEORADIUSBYMEMBER`, whose options begin at word `options`.
fn radius_keys(options: i32) -> [KeySpec; 3] {
    let store = |word| KeySpec {
        begin: Begin::LastOption {
            word,
            from: options,
            known: &[("count", 1), ("store", 1), ("storedist", 1)],
            is_told: true,
        },
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        flags: key::OW | key::UPDATE,
    };
    [
        KeySpec::one(1, key::RO | key::ACCESS),
        store("STORE"),
        store("STOREDIST"),
    ]
}

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("geoadd", -5, |s, c, r| finish(geoadd(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::GEO)
        .keys([KeySpec::one(1, key::RW | key::UPDATE)])
        .doc("3.2.0", "geo", "O(log(N)) for each item added, where N is the number of elements in the sorted set.", "Add one or more geospatial items in the geospatial index represented using a sorted set"),
        Spec::new("geodist", -4, |s, c, r| finish(geodist(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::GEO)
        .keys(KEY_RO)
        .doc("3.2.0", "geo", "O(log(N))", "Returns the distance between two members of a geospatial index"),
        Spec::new("geohash", -2, |s, c, r| finish(geohash(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::GEO)
        .keys(KEY_RO)
        .doc("3.2.0", "geo", "O(log(N)) for each member requested, where N is the number of elements in the sorted set.", "Returns members of a geospatial index as standard geohash strings"),
        Spec::new("geopos", -2, |s, c, r| finish(geopos(s, c, r), r))
        .flags(flag::READONLY)
        .acl(category::GEO)
        .keys(KEY_RO)
        .doc("3.2.0", "geo", "O(N) where N is the number of members requested.", "Returns longitude and latitude of members of a geospatial index"),
        Spec::new("geosearch", -7, |s, c, r| finish(search(s, c, r, SEARCH), r))
        .flags(flag::READONLY)
        .acl(category::GEO)
        .keys(KEY_RO)
        .doc("6.2.0", "geo", "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", "Query a sorted set representing a geospatial index to fetch members inside an area of a box or a circle."),
        Spec::new("geosearchstore", -8, |s, c, r| finish(search(s, c, r, SEARCH_STORE), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::GEO)
        .keys([KeySpec::one(1, key::OW | key::UPDATE), KeySpec::one(2, key::RO | key::ACCESS)])
        .doc("6.2.0", "geo", "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", "Query a sorted set representing a geospatial index to fetch members inside an area of a box or a circle, and store the result in another key."),
        Spec::new("georadius", -6, |s, c, r| finish(search(s, c, r, RADIUS), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS)
        .acl(category::GEO)
        .keys(radius_keys(6))
        .doc("3.2.0", "geo", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Query a sorted set representing a geospatial index to fetch members matching a given maximum distance from a point"),
        Spec::new("georadiusbymember", -5, |s, c, r| finish(search(s, c, r, RADIUS_BY_MEMBER), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS)
        .acl(category::GEO)
        .keys(radius_keys(5))
        .doc("3.2.0", "geo", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Query a sorted set representing a geospatial index to fetch members matching a given maximum distance from a member"),
        Spec::new("georadius_ro", -6, |s, c, r| finish(search(s, c, r, RADIUS_RO), r))
        .flags(flag::READONLY)
        .acl(category::GEO)
        .keys(KEY_RO)
        .doc("3.2.10", "geo", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "A read-only variant for GEORADIUS"),
        Spec::new("georadiusbymember_ro", -5, |s, c, r| finish(search(s, c, r, RADIUS_BY_MEMBER_RO), r))
        .flags(flag::READONLY)
        .acl(category::GEO)
        .keys(KEY_RO)
        .doc("3.2.10", "geo", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "A read-only variant for GEORADIUSBYMEMBER")
    ]
}

/// The two words of a place.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Failure> {
    let place = Place {
        longitude: float(longitude)?,
        latitude: float(latitude)?,
    };
    if !place.is_valid() {
        let Place {
            longitude,
            latitude,
        } = place;
        let text = format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}");
        return Err(text.into());
    }
    Ok(place)
}

/// The meters in a unit.
fn unit(word: &[u8]) -> Result<f64, Failure> {
    match word.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err("ERR unsupported unit provided. please use M, KM, FT, MI".into()),
    }
}

/// The place of a member.
fn place_of(set: Option<&SortedSet>, member: &[u8]) -> Option<Place> {
    set?.score(member).map(Place::of_score)
}

/// A distance with four decimals. As redis-server does it, it is multiplied before it is rounded, and of two
/// equally near the even one is taken; that is not always the nearest.
fn reply_distance(reply: &mut Reply, distance: f64) {
    const UNITS: i64 = 10_000;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "no distance on the earth comes near 63 bits"
    )]
    let rounded = (distance * UNITS as f64).round_ties_even() as i64;
    reply.bulk(format!("{}.{:04}", rounded / UNITS, rounded % UNITS));
}

fn reply_place(reply: &mut Reply, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        match reply.protocol() {
            Protocol::Resp2 => reply.bulk(text),
            Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}

fn geoadd(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let (options, count) = add_options(&call.words[2..], &[("nx", NX), ("xx", XX), ("ch", CH)]);
    let (head, places) = call.words.split_at(2 + count);
    if !places.len().is_multiple_of(3) || (options & NX != 0 && options & XX != 0) {
        return Err(SYNTAX.into());
    }
    let mut words = vec![word("zadd")];
    words.extend_from_slice(&head[1..]);
    for part in places.chunks_exact(3) {
        let place = place(&part[0], &part[1])?;
        words.extend([number(place.score_bits()), part[2].clone()]);
    }
    add(server, call, reply, &words, 0)
}

fn geodist(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let unit = match &call.words[4..] {
        [] => 1.0,
        [word] => unit(word)?,
        _ => return Err(SYNTAX.into()),
    };
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    let [from, to] = [2, 3].map(|at| place_of(set, &call.words[at]));
    match from.zip(to) {
        Some((from, to)) => reply_distance(reply, from.distance(to) / unit),
        None => reply.null(),
    }
    Ok(())
}

fn geohash(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    reply.array(call.words.len() - 2);
    for member in &call.words[2..] {
        match place_of(set, member) {
            Some(place) => reply.bulk(place.geohash()),
            None => reply.null(),
        }
    }
    Ok(())
}

fn geopos(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[1])?;
    reply.array(call.words.len() - 2);
    for member in &call.words[2..] {
        match place_of(set, member) {
            Some(place) => reply_place(reply, place),
            None => reply.null_array(),
        }
    }
    Ok(())
}

/// How the search commands differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// Which word is the key that is searched.
    source: usize,
    /// What follows it.
    region: RegionWords,
    /// Where results may be stored.
    store: Store,
}

/// How the region is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RegionWords {
    /// Longitude, latitude, radius, unit.
    PlaceRadius,
    /// Member, radius, unit.
    MemberRadius,
    /// By options.
    Options,
}

/// Where results may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Nowhere,
    /// Where the options `STORE` or `STOREDIST` say.
    Optional,
    /// At word 1.
    Always,
}

const RADIUS: Form = Form {
    source: 1,
    region: RegionWords::PlaceRadius,
    store: Store::Optional,
};
const RADIUS_BY_MEMBER: Form = Form {
    region: RegionWords::MemberRadius,
    ..RADIUS
};
const RADIUS_RO: Form = Form {
    store: Store::Nowhere,
    ..RADIUS
};
const RADIUS_BY_MEMBER_RO: Form = Form {
    store: Store::Nowhere,
    ..RADIUS_BY_MEMBER
};
const SEARCH: Form = Form {
    source: 1,
    region: RegionWords::Options,
    store: Store::Nowhere,
};
const SEARCH_STORE: Form = Form {
    source: 2,
    store: Store::Always,
    ..SEARCH
};

/// A distance that must not be negative.
fn length(word: &[u8], what: &'static str) -> Result<f64, Failure> {
    double(word).ok_or(Failure::from(what))
}

fn circle(radius: &[u8], unit_word: &[u8]) -> Result<(Shape, f64), Failure> {
    let radius = length(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err("ERR radius cannot be negative".into());
    }
    Ok((Shape::Circle { radius }, unit(unit_word)?))
}

fn rectangle(width: &[u8], height: &[u8], unit_word: &[u8]) -> Result<(Shape, f64), Failure> {
    let width = length(width, "ERR need numeric width")?;
    let height = length(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err("ERR height or width cannot be negative".into());
    }
    Ok((Shape::Box { width, height }, unit(unit_word)?))
}

/// The middle of a search at a member. Without the key the words are only checked.
fn center_at(set: Option<&SortedSet>, member: &[u8]) -> Result<Option<Place>, Failure> {
    match place_of(set, member) {
        None if set.is_some() => Err("ERR could not decode requested zset member".into()),
        place => Ok(place),
    }
}

/// How results are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As they are found.
    Any,
    /// The nearest first.
    Ascending,
    /// The farthest first.
    Descending,
}

/// What is shown beside each member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    distance: bool,
    hash: bool,
    place: bool,
}

impl Shown {
    fn count(self) -> usize {
        [self.distance, self.hash, self.place]
            .into_iter()
            .filter(|is| *is)
            .count()
    }
}

/// What a search is asked for.
#[derive(Debug)]
struct Query<'a> {
    /// `None` where the words did not say or there is nothing to look at.
    center: Option<Place>,
    /// Whether the words said where.
    has_center: Option<CenterBy>,
    shape: Option<(Shape, f64)>,
    shown: Shown,
    order: Order,
    /// 0: all.
    count: usize,
    /// The first ones found will do.
    is_any: bool,
    store: Option<&'a Word<'a>>,
    /// What is stored as the score.
    store_distance: bool,
}

/// Which option says where the middle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CenterBy {
    Member,
    Place,
}

impl<'a> Query<'a> {
    fn parse(
        words: &'a [Word<'a>],
        form: Form,
        set: Option<&SortedSet>,
    ) -> Result<Query<'a>, Failure> {
        let mut query = Query {
            center: None,
            has_center: None,
            shape: None,
            shown: Shown::default(),
            order: Order::Any,
            count: 0,
            is_any: false,
            store: (form.store == Store::Always).then(|| &words[1]),
            store_distance: false,
        };
        let rest = &words[form.source + 1..];
        let options = match form.region {
            RegionWords::PlaceRadius => {
                query.center = Some(place(&rest[0], &rest[1])?);
                query.shape = Some(circle(&rest[2], &rest[3])?);
                &rest[4..]
            }
            RegionWords::MemberRadius => {
                if set.is_some() {
                    query.center = center_at(set, &rest[0])?;
                    query.shape = Some(circle(&rest[1], &rest[2])?);
                }
                &rest[3..]
            }
            RegionWords::Options => rest,
        };
        query.options(options, form, set)?;
        query.check(&words[0], form)?;
        Ok(query)
    }

    fn options(
        &mut self,
        mut rest: &'a [Word<'a>],
        form: Form,
        set: Option<&SortedSet>,
    ) -> Result<(), Failure> {
        let has_region = form.region == RegionWords::Options;
        while let Some((name, more)) = rest.split_first() {
            rest = more;
            match (name.to_ascii_lowercase().as_slice(), more) {
                (b"withdist", _) => self.shown.distance = true,
                (b"withhash", _) => self.shown.hash = true,
                (b"withcoord", _) => self.shown.place = true,
                (b"any", _) => self.is_any = true,
                (b"asc", _) => self.order = Order::Ascending,
                (b"desc", _) => self.order = Order::Descending,
                (b"count", [count, behind @ ..]) => {
                    let count = integer(count)?;
                    let count = usize::try_from(count).ok().filter(|count| *count > 0);
                    self.count = count.ok_or("ERR COUNT must be > 0")?;
                    rest = behind;
                }
                (b"store", [key, behind @ ..]) if form.store == Store::Optional => {
                    (self.store, self.store_distance) = (Some(key), false);
                    rest = behind;
                }
                (b"storedist", [key, behind @ ..]) if form.store == Store::Optional => {
                    (self.store, self.store_distance) = (Some(key), true);
                    rest = behind;
                }
                (b"storedist", _) if form.store == Store::Always => self.store_distance = true,
                (b"frommember", [member, behind @ ..])
                    if has_region && self.has_center != Some(CenterBy::Place) =>
                {
                    self.center = center_at(set, member)?;
                    self.has_center = Some(CenterBy::Member);
                    rest = behind;
                }
                (b"fromlonlat", [longitude, latitude, behind @ ..])
                    if has_region && self.has_center != Some(CenterBy::Member) =>
                {
                    self.center = Some(place(longitude, latitude)?);
                    self.has_center = Some(CenterBy::Place);
                    rest = behind;
                }
                (b"byradius", [radius, unit, behind @ ..])
                    if has_region && !matches!(self.shape, Some((Shape::Box { .. }, _))) =>
                {
                    self.shape = Some(circle(radius, unit)?);
                    rest = behind;
                }
                (b"bybox", [width, height, unit, behind @ ..])
                    if has_region && !matches!(self.shape, Some((Shape::Circle { .. }, _))) =>
                {
                    self.shape = Some(rectangle(width, height, unit)?);
                    rest = behind;
                }
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(())
    }

    /// What does not go together.
    fn check(&mut self, name: &[u8], form: Form) -> Result<(), Failure> {
        if self.store.is_some() && self.shown.count() > 0 {
            let what = match form.store {
                Store::Always => "GEOSEARCHSTORE",
                Store::Optional | Store::Nowhere => "STORE option in GEORADIUS",
            };
            let why = "is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
            return Err(format!("ERR {what} {why}").into());
        }
        if form.region == RegionWords::Options {
            let name = String::from_utf8_lossy(name);
            if self.has_center.is_none() {
                let what = "exactly one of FROMMEMBER or FROMLONLAT can be specified for";
                return Err(format!("ERR {what} {name}").into());
            }
            if self.shape.is_none() {
                let what = "exactly one of BYRADIUS and BYBOX can be specified for";
                return Err(format!("ERR {what} {name}").into());
            }
        }
        if self.is_any && self.count == 0 {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        // The nearest are wanted, unless said otherwise.
        if self.count != 0 && self.order == Order::Any && !self.is_any {
            self.order = Order::Ascending;
        }
        Ok(())
    }

    /// What is found, in the order that is asked for.
    fn found(&self, set: &SortedSet) -> Vec<Found> {
        let (Some(center), Some((shape, unit))) = (self.center, self.shape) else {
            return Vec::new();
        };
        let region = Region {
            center,
            shape,
            unit,
        };
        let wanted = if self.count == 0 {
            usize::MAX
        } else {
            self.count
        };
        let enough = if self.is_any { wanted } else { usize::MAX };
        let mut found = Vec::new();
        for (min, max) in region.scores() {
            let start = set.partition_point(|_, score| score < min);
            let inside = set.iter_from(start).take_while(|(_, score)| *score < max);
            let matching = inside.filter_map(|(member, score)| {
                let place = Place::of_score(score);
                let distance = region.distance(place)?;
                Some(Found {
                    member: Key::from(member.bytes(&mut itoa::Buffer::new())),
                    score,
                    place,
                    meters: distance,
                })
            });
            found.extend(matching.take(enough - found.len()));
        }
        let nearer = |one: &Found, two: &Found| one.meters.total_cmp(&two.meters);
        let order: fn(Ordering) -> Ordering = match self.order {
            Order::Any => {
                found.truncate(wanted);
                return found;
            }
            Order::Ascending => |order| order,
            Order::Descending => Ordering::reverse,
        };
        let compare = |one: &Found, two: &Found| order(nearer(one, two));
        if found.len() > wanted {
            sort_range(&mut found, &(0..wanted), compare);
            found.truncate(wanted);
        } else {
            found.sort_by(compare);
        }
        found
    }
}

/// A member inside.
#[derive(Clone, Debug)]
struct Found {
    member: Key,
    score: f64,
    place: Place,
    /// From the middle.
    meters: f64,
}

fn search(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    form: Form,
) -> Result<(), Failure> {
    let set = server.read::<SortedSet>(call, &call.words[form.source])?;
    let query = Query::parse(call.words, form, set)?;
    let found = set.map_or_else(Vec::new, |set| query.found(set));
    let unit = query.shape.map_or(1.0, |(_, unit)| unit);
    if let Some(key) = query.store {
        let score = |found: &Found| {
            if query.store_distance {
                found.meters / unit
            } else {
                found.score
            }
        };
        let pair = |found: &Found| (found.member.clone(), score(found));
        let members: Vec<(Key, f64)> = found.iter().map(pair).collect();
        let event = match form.store {
            Store::Always => "geosearchstore",
            Store::Optional | Store::Nowhere => "georadiusstore",
        };
        let set = sorted_set(&members, &server.thresholds());
        server.changed_more(set.len().saturating_sub(1));
        store_result(server, call, reply, key, set, event);
        return Ok(());
    }
    let extra = query.shown.count();
    reply.array(found.len());
    for found in found {
        if extra > 0 {
            reply.array(extra + 1);
        }
        reply.bulk(&found.member);
        if query.shown.distance {
            reply_distance(reply, found.meters / unit);
        }
        if query.shown.hash {
            #[expect(clippy::cast_possible_truncation, reason = "at most 54 bits")]
            let hash = found.score as i64;
            reply.integer(hash);
        }
        if query.shown.place {
            reply_place(reply, found.place);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::{Front, Lookup, command_keys};
    use crate::server::command;

    /// Which words of a request may be read or written as keys.
    fn check(request: &str, want: &[usize]) {
        let front: Front<Server> = Front::new(command::all());
        let words: Vec<Word<'_>> = request.split(' ').map(Word::from).collect();
        let Lookup::Found(id) = front.table.lookup(&words) else {
            panic!("no command {request}");
        };
        let info = front.table.catalog().entry(id).info;
        let keys = command_keys(info, &words);
        let found: Vec<usize> = keys.iter().map(|found| found.index).collect();
        assert_eq!(found, want, "{request}");
    }

    #[test]
    fn what_is_stored_to_is_a_key() {
        let by_place = "georadius k 0 0 1 km";
        check(by_place, &[1]);
        check(&format!("{by_place} store a"), &[1, 7]);
        check(&format!("{by_place} store a asc STORE z"), &[1, 10]);
        check(&format!("{by_place} storedist store storedist z"), &[1, 9]);
        check(
            &format!("{by_place} store storedist count store any"),
            &[1, 7],
        );
        check("georadiusbymember k m 1 km store a store store", &[1, 8]);
        check("georadiusbymember k store 1 km storedist z", &[1, 6]);
    }
}
