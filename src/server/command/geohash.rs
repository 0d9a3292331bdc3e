//! Places as numbers: longitude and latitude interleaved into 52 bits, which are the score of a place, and the
//! arithmetic of redis-server 7.0 about them, operation by operation, so that every bit is the same.

/// The bits of each coordinate at the finest.
const STEPS_MAX: u32 = 26;
/// Mean radius of the earth.
const EARTH_METERS: f64 = 6_372_797.560_856;
/// Half the length of the equator in the Mercator projection.
const MERCATOR_METERS_MAX: f64 = 20_037_726.37;
const LONGITUDE_MAX: f64 = 180.0;
const LATITUDE_MAX: f64 = 85.051_128_78;
/// The latitudes of the geohashes that the rest of the world uses.
const STANDARD_LATITUDE_MAX: f64 = 90.0;
const RADIANS: f64 = std::f64::consts::PI / 180.0;
/// Every second bit: those of the latitude.
const EVEN: u64 = 0x5555_5555_5555_5555;
/// Those of the longitude.
const ODD: u64 = EVEN << 1;

/// A place on the earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// East is positive.
    pub(super) longitude: f64,
    /// North is positive.
    pub(super) latitude: f64,
}

impl Place {
    /// Whether it can be stored.
    pub(super) fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The score of the place.
    pub(super) fn score_bits(self) -> u64 {
        Cell::of(self, STEPS_MAX).bits
    }

    /// The place, or the middle of the small cell around it, that a score stands for.
    pub(super) fn of_score(score: f64) -> Place {
        let cell = Cell {
            bits: bits_of(score),
            steps: STEPS_MAX,
        };
        let area = cell.area();
        let middle = |min: f64, max: f64, limit: f64| ((min + max) / 2.0).clamp(-limit, limit);
        Place {
            longitude: middle(area.west, area.east, LONGITUDE_MAX),
            latitude: middle(area.south, area.north, LATITUDE_MAX),
        }
    }

    /// The geohash as the rest of the world writes it, in 11 letters.
    pub(super) fn geohash(self) -> String {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let cell = Cell::within(self, STEPS_MAX, STANDARD_LATITUDE_MAX);
        let letter = |at: u32| match 52_u32.checked_sub((at + 1) * 5) {
            Some(shift) => {
                let index = usize::try_from(cell.bits >> shift & 0x1f).expect("five bits");
                char::from(LETTERS[index])
            }
            // There are only 52 bits, not 55.
            None => char::from(LETTERS[0]),
        };
        (0..11).map(letter).collect()
    }

    /// The distance to another place on the great circle. Meters.
    pub(super) fn distance(self, other: Place) -> f64 {
        let (from, to) = (self.longitude * RADIANS, other.longitude * RADIANS);
        let v = ((to - from) / 2.0).sin();
        if v == 0.0 {
            return self.latitude_distance(other);
        }
        let (south, north) = (self.latitude * RADIANS, other.latitude * RADIANS);
        let u = ((north - south) / 2.0).sin();
        let a = u * u + south.cos() * north.cos() * v * v;
        // On the other side of the earth rounding may take it above 1, of which there is no arcsine.
        2.0 * EARTH_METERS * a.sqrt().min(1.0).asin()
    }

    /// How far it is to the other place's latitude. Meters.
    fn latitude_distance(self, other: Place) -> f64 {
        EARTH_METERS * (other.latitude * RADIANS - self.latitude * RADIANS).abs()
    }
}

/// What a score says as bits. Scores that are no places wrap as the conversion of x86 does.
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "saturating is meant")]
    let bits = if score < HALF {
        (score as i64).cast_unsigned()
    } else if score < 2.0 * HALF {
        ((score - HALF) as i64).cast_unsigned() | 1 << 63
    } else {
        0
    };
    bits
}

/// A cell of the grid: so many steps of halving, and which halves they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, Debug)]
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

impl Cell {
    /// The cell around a place.
    fn of(place: Place, steps: u32) -> Cell {
        Cell::within(place, steps, LATITUDE_MAX)
    }

    fn within(place: Place, steps: u32, latitude_max: f64) -> Cell {
        let index = |n: f64, max: f64| {
            let share = (n - -max) / (max - -max);
            #[expect(clippy::cast_precision_loss, reason = "a power of two")]
            let cells = (1_u64 << steps) as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most 27 bits, and never negative for a valid place"
            )]
            let index = (share * cells) as u32;
            index
        };
        let latitude = index(place.latitude, latitude_max);
        let longitude = index(place.longitude, LONGITUDE_MAX);
        Cell {
            bits: spread(latitude) | spread(longitude) << 1,
            steps,
        }
    }

    fn area(self) -> Area {
        let edge = |index: u32, max: f64| {
            #[expect(clippy::cast_precision_loss, reason = "a power of two")]
            let cells = (1_u64 << self.steps) as f64;
            -max + (f64::from(index) / cells) * (max - -max)
        };
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        Area {
            west: edge(longitude, LONGITUDE_MAX),
            east: edge(longitude.wrapping_add(1), LONGITUDE_MAX),
            south: edge(latitude, LATITUDE_MAX),
            north: edge(latitude.wrapping_add(1), LATITUDE_MAX),
        }
    }

    /// The cell so many columns to the east and rows to the north; at an edge, round the world.
    fn beside(self, east: i64, north: i64) -> Cell {
        let used = u64::MAX >> (64 - self.steps * 2);
        // The other coordinate's bits are filled so that a carry or a borrow runs through them.
        let step = |bits: u64, gaps: u64, by: i64| match by {
            0 => bits,
            1 => bits.wrapping_add((gaps & used) + 1),
            _ => (bits | (gaps & used)).wrapping_sub((gaps & used) + 1),
        };
        let longitude = step(self.bits & ODD, EVEN, east);
        let longitude = if east == 0 {
            longitude
        } else {
            longitude & ODD & used
        };
        let latitude = step(self.bits & EVEN, ODD, north);
        let latitude = if north == 0 {
            latitude
        } else {
            latitude & EVEN & used
        };
        Cell {
            bits: longitude | latitude,
            ..self
        }
    }

    /// The lowest score in the cell, and the lowest behind it.
    fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS_MAX - self.steps);
        #[expect(
            clippy::cast_precision_loss,
            reason = "at most 54 bits, the lowest zero"
        )]
        let score = |bits: u64| (bits << shift) as f64;
        (score(self.bits), score(self.bits + 1))
    }
}

/// The bits of `n` with a gap after each.
fn spread(n: u32) -> u64 {
    let mut bits = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, EVEN),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Every second bit of `bits`: the inverse of [`spread`].
fn gather(bits: u64) -> u32 {
    let mut n = bits & EVEN;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        n = (n | n >> shift) & mask;
    }
    u32::try_from(n).expect("32 bits are left")
}

/// Where a search looks: around a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    /// The middle.
    pub(super) center: Place,
    /// How far from it.
    pub(super) shape: Shape,
    /// Meters in the unit of the shape.
    pub(super) unit: f64,
}

/// What a search covers, in its unit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A circle.
    Circle {
        /// From the middle to the edge.
        radius: f64,
    },
    /// A rectangle along the degrees.
    Box {
        /// From west to east.
        width: f64,
        /// From south to north.
        height: f64,
    },
}

impl Region {
    /// The distance of a place from the middle, if it is inside. Meters.
    pub(super) fn distance(&self, place: Place) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => {
                let distance = self.center.distance(place);
                (distance <= radius * self.unit).then_some(distance)
            }
            Shape::Box { width, height } => {
                let beside = Place {
                    longitude: self.center.longitude,
                    ..place
                };
                let is_outside = place.latitude_distance(self.center) > height * self.unit / 2.0
                    || place.distance(beside) > width * self.unit / 2.0;
                (!is_outside).then(|| self.center.distance(place))
            }
        }
    }

    /// The ranges of scores in which the places inside are, in the order in which redis-server walks them: from
    /// each the first up to the second, which is excluded.
    pub(super) fn scores(&self) -> Vec<(f64, f64)> {
        let mut wanted: Vec<Cell> = Vec::new();
        for cell in self.cells() {
            // A huge region has the same cell in several directions. Only the one before it is compared, and the
            // middle is not.
            let is_same = wanted.len() > 1 && wanted.last() == Some(&cell);
            if cell != Cell::default() && !is_same {
                wanted.push(cell);
            }
        }
        wanted.into_iter().map(Cell::scores).collect()
    }

    /// The cell of the middle and those around it; empty ones where nothing is to be looked for.
    fn cells(&self) -> [Cell; 9] {
        let bounds = self.bounds();
        let mut steps = self.steps();
        let mut middle = Cell::of(self.center, steps);
        let is_too_fine = middle.beside(0, 1).area().north < bounds.north
            || middle.beside(0, -1).area().south > bounds.south
            || middle.beside(1, 0).area().east < bounds.east
            || middle.beside(-1, 0).area().west > bounds.west;
        if steps > 1 && is_too_fine {
            steps -= 1;
            middle = Cell::of(self.center, steps);
        }
        let area = middle.area();
        let is_needed = |east: i64, north: i64| {
            steps < 2
                || !((north < 0 && area.south < bounds.south)
                    || (north > 0 && area.north > bounds.north)
                    || (east < 0 && area.west < bounds.west)
                    || (east > 0 && area.east > bounds.east))
        };
        [
            (0, 0),
            (0, 1),
            (0, -1),
            (1, 0),
            (-1, 0),
            (1, 1),
            (-1, 1),
            (1, -1),
            (-1, -1),
        ]
        .map(|(east, north)| {
            if is_needed(east, north) {
                middle.beside(east, north)
            } else {
                Cell::default()
            }
        })
    }

    /// How fine the cells may be.
    fn steps(&self) -> u32 {
        let mut range = self.unit
            * match self.shape {
                Shape::Circle { radius } => radius,
                Shape::Box { width, height } => {
                    ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
                }
            };
        if range == 0.0 {
            return STEPS_MAX;
        }
        let mut steps: i32 = 1;
        while range < MERCATOR_METERS_MAX {
            range *= 2.0;
            steps += 1;
        }
        steps -= 2;
        // Towards the poles the cells are narrower.
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        u32::try_from(steps).unwrap_or(0).clamp(1, STEPS_MAX)
    }

    /// The degrees around the region.
    fn bounds(&self) -> Area {
        let (width, height) = match self.shape {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let Place {
            longitude,
            latitude,
        } = self.center;
        let north = height / EARTH_METERS / RADIANS;
        let east_at = |latitude: f64| width / EARTH_METERS / (latitude * RADIANS).cos() / RADIANS;
        // The edge that is nearer to a pole is the wider one.
        let east = if latitude < 0.0 {
            east_at(latitude - north)
        } else {
            east_at(latitude + north)
        };
        Area {
            west: longitude - east,
            east: longitude + east,
            south: latitude - north,
            north: latitude + north,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_other_side_of_the_earth_is_no_further_than_that() {
        let place = Place {
            longitude: 94.585_045_874_118_8,
            latitude: 58.480_864_805_296_01,
        };
        let opposite = Place::of_score(635_480_501_492_637.0);
        let distance = opposite.distance(place);
        assert!(
            (distance - std::f64::consts::PI * EARTH_METERS).abs() < 1.0,
            "{distance}"
        );
    }

    #[test]
    fn a_known_place() {
        let place = Place {
            longitude: 13.361_389,
            latitude: 38.115_556,
        };
        assert_eq!(place.score_bits(), 3_479_099_956_230_698);
        let stored = Place::of_score(3_479_099_956_230_698.0);
        assert_eq!(stored.longitude.to_string(), "13.361389338970184");
        assert_eq!(stored.latitude.to_string(), "38.1155563954963");
        assert_eq!(stored.geohash(), "sqc8b49rny0");
    }

    proptest! {
        #[test]
        fn a_score_is_read_back(longitude in -180.0..180.0_f64, latitude in -85.0..85.0_f64) {
            let place = Place { longitude, latitude };
            let bits = place.score_bits();
            #[expect(clippy::cast_precision_loss, reason = "52 bits")]
            let stored = Place::of_score(bits as f64);
            prop_assert_eq!(stored.score_bits(), bits);
            prop_assert!(place.distance(stored) < 1.0);
        }

        #[test]
        fn any_score_and_any_region_end(score in any::<f64>(), radius in any::<f64>(), unit in 0.1..2000.0_f64) {
            let place = Place::of_score(score);
            prop_assert!(place.is_valid());
            let region = Region { center: place, shape: Shape::Circle { radius: radius.abs() }, unit };
            prop_assert!(region.scores().len() <= 9);
            region.distance(place);
        }

        #[test]
        fn places_inside_are_looked_for(
            longitude in -170.0..170.0_f64, latitude in -70.0..70.0_f64,
            east in -1.0..1.0_f64, north in -1.0..1.0_f64, meters in 1.0..200_000.0_f64,
        ) {
            let center = Place { longitude, latitude };
            let region = Region { center, shape: Shape::Circle { radius: meters }, unit: 1.0 };
            let other = Place { longitude: longitude + east, latitude: latitude + north };
            if region.distance(other).is_some() {
                #[expect(clippy::cast_precision_loss, reason = "52 bits")]
                let score = other.score_bits() as f64;
                prop_assert!(region.scores().iter().any(|(min, max)| *min <= score && score < *max));
            }
        }
    }
}
