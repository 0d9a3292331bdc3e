//! Places: the same scores, distances, coordinates and results as redis-server 7.0, to the last bit.

use rand::RngExt;

use crate::both::{Both, check_events, check_in_both_protocols, check_stream, in_each_protocol};
use crate::data::{Dice, seeds};

/// Random places and searches among them.
struct Places(Dice);

impl Places {
    fn of(seed: u64) -> Places {
        Places(Dice::of(seed))
    }

    /// Longitude and latitude: some near the edges of the map, some near each other, some on whole degrees.
    fn place(&mut self) -> [String; 2] {
        let (east, north): (f64, f64) = match self.0.random_range(0..12) {
            0 => (180.0, self.0.random_range(-85.0..85.0)),
            1 => (-180.0, 0.0),
            2 => (self.0.random_range(-180.0..180.0), 85.051_128_78),
            3 => (self.0.random_range(-180.0..180.0), -85.051_128_78),
            4 => (190.0, 10.0),
            5..8 => (
                f64::from(self.0.random_range(-180_i32..=180)),
                f64::from(self.0.random_range(-85_i32..=85)),
            ),
            8..10 => (
                self.0.random_range(13.0..13.1),
                self.0.random_range(38.0..38.1),
            ),
            _ => (
                self.0.random_range(-180.0..180.0),
                self.0.random_range(-85.0..85.0),
            ),
        };
        [east, north].map(|degrees| degrees.to_string())
    }

    fn member(&mut self) -> String {
        format!("m{}", self.0.random_range(0..300))
    }

    fn length(&mut self) -> String {
        match self.0.random_range(0..8) {
            0 => "0".to_owned(),
            1 => "-1".to_owned(),
            2 => "inf".to_owned(),
            3 => self.0.random_range(1..10).to_string(),
            4 => "1e7".to_owned(),
            5 => "3e7".to_owned(),
            _ => (self.0.random_range(0.1..7.0_f64).exp() * 10.0).to_string(),
        }
    }

    fn add(&mut self) -> Vec<String> {
        let [longitude, latitude] = self.place();
        ["GEOADD", "g", &longitude, &latitude, &self.member()]
            .map(str::to_owned)
            .to_vec()
    }

    fn next(&mut self) -> Vec<String> {
        let [longitude, latitude] = self.place();
        let (one, two) = (self.member(), self.member());
        let (length, width) = (self.length(), self.length());
        let unit = self.0.pick(&["m", "km", "km", "ft", "MI", "xx"]);
        let order = self.0.pick(&["ASC", "DESC", "WITHHASH", "WITHDIST"]);
        let key = self.0.pick(&["g", "g", "g", "missing", "to"]);
        let few = self.0.random_range(1..300).to_string();
        let few = few.as_str();
        let count = self.0.pick(&["1", "5", "20", "0", "x"]);
        let line: Vec<&str> = match self.0.random_range(0..18) {
            0 => vec!["GEOADD", "g", &longitude, &latitude, &one],
            1 => vec!["GEODIST", key, &one, &two, unit],
            2 => vec!["GEOPOS", key, &one, &two],
            3 => vec!["GEOHASH", key, &one, &two],
            4 => vec![
                "GEORADIUS",
                key,
                &longitude,
                &latitude,
                &length,
                unit,
                "WITHDIST",
                "WITHCOORD",
            ],
            5 => vec![
                "GEORADIUS",
                key,
                &longitude,
                &latitude,
                &length,
                unit,
                order,
            ],
            6 => vec![
                "GEORADIUSBYMEMBER",
                key,
                &one,
                &length,
                unit,
                "WITHHASH",
                order,
            ],
            7 => vec!["GEORADIUSBYMEMBER_RO", key, &one, &length, unit],
            8 => vec![
                "GEORADIUS_RO",
                key,
                &longitude,
                &latitude,
                &length,
                unit,
                "COUNT",
                count,
                "ANY",
            ],
            9 => vec![
                "GEORADIUSBYMEMBER",
                key,
                &one,
                &length,
                unit,
                "STOREDIST",
                "to",
            ],
            10 => vec![
                "GEORADIUS",
                key,
                &longitude,
                &latitude,
                &length,
                unit,
                "STORE",
                "to",
            ],
            11 => vec![
                "GEOSEARCH",
                key,
                "FROMMEMBER",
                &one,
                "BYBOX",
                &length,
                &width,
                unit,
                order,
                "WITHDIST",
            ],
            12 => vec![
                "GEOSEARCH",
                key,
                "FROMLONLAT",
                &longitude,
                &latitude,
                "BYBOX",
                &length,
                &width,
                unit,
            ],
            13 => vec![
                "GEOSEARCH",
                key,
                "BYRADIUS",
                &length,
                unit,
                "FROMMEMBER",
                &one,
                "COUNT",
                "3",
                "ANY",
                order,
            ],
            14 => vec![
                "GEOSEARCHSTORE",
                "to",
                key,
                "FROMMEMBER",
                &one,
                "BYBOX",
                &length,
                &width,
                unit,
                "STOREDIST",
            ],
            15 => vec![
                "GEORADIUS",
                key,
                &longitude,
                &latitude,
                &length,
                unit,
                "COUNT",
                count,
                order,
            ],
            16 => vec![
                "GEOSEARCH",
                key,
                "FROMMEMBER",
                &one,
                "BYRADIUS",
                "3e7",
                "m",
                "COUNT",
                few,
                order,
            ],
            _ => vec!["ZRANGE", "to", "0", "-1", "WITHSCORES"],
        };
        line.into_iter().map(str::to_owned).collect()
    }
}

#[test]
fn chosen_lines() {
    check_in_both_protocols(LINES);
}

#[test]
fn random_commands() {
    for (seed, protocol) in in_each_protocol(seeds([90])) {
        let places = if protocol == "2" { 400 } else { 60 };
        let mut both = Both::start();
        both.speak(protocol);
        let mut commands = Places::of(seed);
        for _ in 0..places {
            both.check(&commands.add());
        }
        for _ in 0..1200 {
            both.check(&commands.next());
        }
        both.check_data();
    }
}

#[test]
fn replicas_and_listeners_are_told_the_same() {
    check_stream(STREAM);
    check_events(STREAM);
}

const LINES: &str = r#"
    SET plain text
    GEOADD g
    GEOADD g 1 2
    GEOADD g 1 2 a 3
    GEOADD g 200 100 a
    GEOADD g 13.361389 85.06 a
    GEOADD g x 1 a
    GEOADD g 1 nan a
    GEOADD g inf 1 a
    GEOADD g 180 85.05112878 corner -180 -85.05112878 other
    GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
    GEOADD g NX XX 1 1 a
    GEOADD g NX CH CH
    GEOADD g NX 1 1 Palermo 2 2 b
    GEOADD g XX CH 1 1.5 b
    GEOADD g xx ch 1 1.6 c
    GEOADD g GT 1 1 b
    GEOADD plain 1 1 a
    GEOADD near 0 0 zero 0 0.00001 up 0.00001 0 right
    ZRANGE g 0 -1 WITHSCORES
    ZADD odd -5 negative 1e300 huge inf infinite 0.5 half 18446744073709551615 wide 4503599627370496 behind
    GEOPOS odd negative huge infinite half wide behind
    GEOHASH odd negative huge infinite half wide behind
    GEODIST odd negative huge
    GEODIST odd half infinite km
    GEORADIUS odd 0 0 30000 km WITHHASH WITHDIST
    GEODIST g Palermo Catania
    GEODIST g Palermo Catania km
    GEODIST g Palermo Catania M
    GEODIST g Palermo Catania mi
    GEODIST g Palermo Catania ft
    GEODIST g Palermo Catania xx
    GEODIST g Palermo Catania km x
    GEODIST g Palermo nosuch
    GEODIST g Palermo Palermo
    GEODIST nokey a b
    GEODIST plain a b
    GEODIST near zero up
    GEODIST near zero right
    GEODIST near zero right km
    GEODIST near zero right mi
    ZADD halves 1125899906842624 m20 3479073955889081 m63 3479073955889082 m64
    GEODIST halves m20 m63
    GEODIST halves m63 m64
    GEODIST halves m63 m64 km
    GEODIST halves m63 m64 ft
    GEOHASH g Palermo Catania nosuch corner other
    GEOHASH nokey a
    GEOHASH g
    GEOHASH plain a
    GEOPOS g Palermo Catania nosuch corner other
    GEOPOS near zero up right
    GEOPOS nokey a
    GEOPOS g
    GEOPOS plain a
    GEORADIUS g 15 37 200 km
    GEORADIUS g 15 37 200 km WITHDIST
    GEORADIUS g 15 37 200 km WITHDIST WITHCOORD WITHHASH ASC
    GEORADIUS g 15 37 200 km withcoord desc
    GEORADIUS g 15 37 200 xx
    GEORADIUS g 15 37 x km
    GEORADIUS g 15 37 -1 km
    GEORADIUS g 15 x 1 km
    GEORADIUS g 15 137 1 km
    GEORADIUS g 15 37 200 km COUNT
    GEORADIUS g 15 37 200 km COUNT 0
    GEORADIUS g 15 37 200 km COUNT x
    GEORADIUS g 15 37 200 km COUNT 1
    GEORADIUS g 15 37 200 km COUNT 1 DESC
    GEORADIUS g 15 37 200 km COUNT 1 ANY
    GEORADIUS g 15 37 200 km ANY
    GEORADIUS g 15 37 200 km BOGUS
    GEORADIUS g 15 37 200 km STORE
    GEORADIUS g 15 37 200 km STORE d WITHDIST
    GEORADIUS g 15 37 200 km STORE d
    ZRANGE d 0 -1 WITHSCORES
    GEORADIUS g 15 37 200 km STOREDIST d
    ZRANGE d 0 -1 WITHSCORES
    GEORADIUS g 15 37 200 km STORE x STOREDIST d COUNT 1
    ZRANGE d 0 -1 WITHSCORES
    GEORADIUS g 15 37 1 km STORE d
    EXISTS d x
    GEORADIUS nokey 15 37 200 km
    GEORADIUS nokey 15 37 200 xx
    GEORADIUS nokey 15 37 200 km STORE d
    GEORADIUS plain 15 37 200 km
    GEORADIUS plain 15 x 200 km
    GEORADIUS g 15 37 200 km FROMMEMBER Palermo
    GEORADIUS g 15 37 200
    GEORADIUS_RO g 15 37 200 km
    GEORADIUS_RO g 15 37 200 km STORE d
    GEORADIUSBYMEMBER g Palermo 200 km
    GEORADIUSBYMEMBER g Palermo 200 km WITHDIST
    GEORADIUSBYMEMBER g nosuch 200 km
    GEORADIUSBYMEMBER nokey Palermo x xx
    GEORADIUSBYMEMBER nokey Palermo x xx BOGUS
    GEORADIUSBYMEMBER nokey Palermo 1 km STORE d
    GEORADIUSBYMEMBER plain Palermo 1 km
    GEORADIUSBYMEMBER g Palermo 200 km STORE d
    ZRANGE d 0 -1 WITHSCORES
    GEORADIUSBYMEMBER_RO g Palermo 200 km
    GEORADIUSBYMEMBER_RO g Palermo 200 km STORE d
    GEOSEARCH g FROMMEMBER Palermo BYRADIUS 200 km
    GEOSEARCH g FROMMEMBER Palermo BYRADIUS 200 km ASC WITHDIST WITHCOORD WITHHASH
    GEOSEARCH g FROMMEMBER Palermo BYBOX 400 400 km DESC
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km WITHDIST
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 0 0 km
    GEOSEARCH g FROMLONLAT 15 37 BYBOX x 400 km
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 x km
    GEOSEARCH g FROMLONLAT 15 37 BYBOX -400 400 km
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 xx
    GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km BYRADIUS 1 km
    GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 1 km
    GEOSEARCH g FROMMEMBER Palermo FROMLONLAT 15 37 BYRADIUS 1 km
    GEOSEARCH g FROMMEMBER nosuch BYRADIUS 1 km
    GEOSEARCH g FROMLONLAT 15 37 ASC ASC ASC
    GeoSearch g BYRADIUS 1 km ASC ASC
    GEOSEARCH g ASC ASC ASC ASC ASC
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 ANY
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km STORE d
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST
    GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200
    GEOSEARCH nokey FROMMEMBER x BYRADIUS 1 km
    GEOSEARCH nokey FROMMEMBER x BYRADIUS x km
    GEOSEARCH plain FROMMEMBER x BYRADIUS 1 km
    GEOSEARCH g FROMLONLAT 0 0 BYRADIUS 30000 km
    GEOSEARCH g FROMLONLAT 180 0 BYRADIUS 3000 km
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 400 400 km
    ZRANGE d 0 -1 WITHSCORES
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 400 400 km STOREDIST COUNT 1
    ZRANGE d 0 -1 WITHSCORES
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 400 400 km WITHDIST
    GEOSEARCHSTORE d g FROMLONLAT 15 37 ASC ASC ASC
    GEOSEARCHSTORE d nokey FROMLONLAT 15 37 BYBOX 400 400 km
    EXISTS d
    GEOSEARCHSTORE d plain FROMLONLAT 15 37 BYBOX 400 400 km
    COMMAND GETKEYS GEORADIUS g 15 37 200 km STORE d
    COMMAND GETKEYS GEORADIUS g 15 37 200 km STOREDIST d COUNT 1
    COMMAND GETKEYS GEORADIUSBYMEMBER g m 200 km ASC STORE d
    COMMAND GETKEYSANDFLAGS GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 1 km
"#;

const STREAM: &str = "
    GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
    GEOADD g NX CH 13.361389 38.115556 Palermo
    GEOADD g ch 1 1 a
    GEORADIUS g 15 37 200 km STORE d
    GEORADIUS g 15 37 200 km
    GEORADIUSBYMEMBER g Palermo 200 km STOREDIST d
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 400 400 km
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 1 1 km
    GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 1 1 km
    GEORADIUS nokey 15 37 200 km STORE d
";
