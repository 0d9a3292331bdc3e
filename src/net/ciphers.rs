//! `tls-ciphers` and `tls-ciphersuites`: which cipher suites are offered, and in which order.
//!
//! rustls has six suites of TLS 1.2 and three of TLS 1.3, the modern ones. Lists are read as OpenSSL reads them, which
//! redis-server hands them to: what names nothing that there is adds nothing, and only an empty outcome is a mistake.

use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite as ring;

use super::tls::TlsError;

/// A suite of TLS 1.2 and what OpenSSL's keywords ask about it.
#[derive(Clone, Copy)]
struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    suite: SupportedCipherSuite,
    is_ecdsa: bool,
    cipher: Cipher,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cipher {
    Aes256,
    Aes128,
    ChaCha20,
}

impl Cipher {
    fn key_bits(self) -> u32 {
        match self {
            Cipher::Aes256 | Cipher::ChaCha20 => 256,
            Cipher::Aes128 => 128,
        }
    }
}

/// Those of TLS 1.2, in the order of OpenSSL's `ALL`.
const TLS12: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        suite: ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        is_ecdsa: true,
        cipher: Cipher::Aes256,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        suite: ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        is_ecdsa: false,
        cipher: Cipher::Aes256,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        suite: ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        is_ecdsa: true,
        cipher: Cipher::ChaCha20,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        suite: ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        is_ecdsa: false,
        cipher: Cipher::ChaCha20,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        suite: ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        is_ecdsa: true,
        cipher: Cipher::Aes128,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        suite: ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        is_ecdsa: false,
        cipher: Cipher::Aes128,
    },
];

/// Those of TLS 1.3, by their names in IANA's registry.
const TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", ring::TLS13_AES_256_GCM_SHA384),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        ring::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_AES_128_GCM_SHA256", ring::TLS13_AES_128_GCM_SHA256),
];

/// What a list asks for.
#[derive(Debug)]
pub(super) struct Chosen {
    /// What of it is offered, in its order.
    pub(super) suites: Vec<SupportedCipherSuite>,
    /// The words that ask for what is not.
    pub(super) without_effect: Vec<String>,
}

/// Reads `tls-ciphers`: OpenSSL's list of ciphers for TLS 1.2.
///
/// # Errors
/// It cannot be read, or nothing of it is offered.
pub(super) fn of_tls12(list: &str) -> Result<Chosen, TlsError> {
    let mut all: Vec<(Suite, bool)> = TLS12.iter().map(|suite| (*suite, false)).collect();
    let mut without_effect = Vec::new();
    let words = list
        .split([':', ' ', ',', ';'])
        .filter(|word| !word.is_empty());
    for word in words {
        if let Some(command) = word.strip_prefix('@') {
            match command {
                "STRENGTH" => {
                    all.sort_by_key(|(suite, _)| std::cmp::Reverse(suite.cipher.key_bits()))
                }
                _ if command.starts_with("SECLEVEL=") => without_effect.push(word.to_owned()),
                _ => return Err(none_of("tls-ciphers", list)),
            }
            continue;
        }
        let (operator, name) = match word.split_at(1) {
            (operator @ ("!" | "-" | "+"), name) => (operator, name),
            _ => ("", word),
        };
        let is_meant = |suite: &Suite| name.split('+').all(|part| has_property(suite, part));
        match operator {
            "!" => all.retain(|(suite, _)| !is_meant(suite)),
            "-" => {
                let (gone, kept): (Vec<_>, Vec<_>) = all
                    .into_iter()
                    .partition(|(suite, on)| *on && is_meant(suite));
                let gone = gone.into_iter().map(|(suite, _)| (suite, false));
                all = gone.chain(kept).collect();
            }
            // Those that are there move to the end, those that are not are put there.
            _ => {
                let is_ordering = operator == "+";
                if !is_ordering && !TLS12.iter().any(is_meant) {
                    without_effect.push(word.to_owned());
                }
                let (moved, kept): (Vec<_>, Vec<_>) = all
                    .into_iter()
                    .partition(|(suite, on)| *on == is_ordering && is_meant(suite));
                let moved = moved.into_iter().map(|(suite, _)| (suite, true));
                all = kept.into_iter().chain(moved).collect();
            }
        }
    }
    let on = all.into_iter().filter(|(_, on)| *on);
    let suites: Vec<SupportedCipherSuite> = on.map(|(suite, _)| suite.suite).collect();
    if suites.is_empty() {
        return Err(none_of("tls-ciphers", list));
    }
    Ok(Chosen {
        suites,
        without_effect,
    })
}

/// Whether a name or keyword of OpenSSL's means this suite.
fn has_property(suite: &Suite, word: &str) -> bool {
    match word {
        "ALL" | "DEFAULT" | "HIGH" | "TLSv1.2" | "ECDHE" | "EECDH" | "ECDH" | "kECDHE"
        | "kEECDH" => true,
        "AES" | "AESGCM" | "FIPS" => suite.cipher != Cipher::ChaCha20,
        "AES128" => suite.cipher == Cipher::Aes128,
        "AES256" => suite.cipher == Cipher::Aes256,
        "CHACHA20" => suite.cipher == Cipher::ChaCha20,
        "ECDSA" | "aECDSA" => suite.is_ecdsa,
        "aRSA" => !suite.is_ecdsa,
        name => name == suite.name,
    }
}

/// Reads `tls-ciphersuites`: names of suites of TLS 1.3 with colons between them.
///
/// # Errors
/// Nothing of it is offered.
pub(super) fn of_tls13(list: &str) -> Result<Chosen, TlsError> {
    let mut chosen = Chosen {
        suites: Vec::new(),
        without_effect: Vec::new(),
    };
    for word in list
        .split(':')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        match TLS13.iter().find(|(name, _)| *name == word) {
            Some((_, suite)) if !chosen.suites.contains(suite) => chosen.suites.push(*suite),
            Some(_) => {}
            None => chosen.without_effect.push(word.to_owned()),
        }
    }
    if chosen.suites.is_empty() {
        return Err(none_of("tls-ciphersuites", list));
    }
    Ok(chosen)
}

fn none_of(directive: &'static str, list: &str) -> TlsError {
    let offered: Vec<&str> = if directive == "tls-ciphers" {
        TLS12.iter().map(|suite| suite.name).collect()
    } else {
        TLS13.iter().map(|(name, _)| *name).collect()
    };
    TlsError::Ciphers {
        directive,
        list: list.to_owned(),
        offered: offered.join(":"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The suites of a list in short: `E256` is ECDHE-ECDSA with AES256.
    fn short(chosen: &Chosen) -> String {
        let names = chosen.suites.iter().map(|chosen| {
            let suite = TLS12.iter().find(|suite| suite.suite == *chosen).unwrap();
            let auth = if suite.is_ecdsa { "E" } else { "R" };
            let cipher = match suite.cipher {
                Cipher::Aes256 => "256",
                Cipher::Aes128 => "128",
                Cipher::ChaCha20 => "C",
            };
            format!("{auth}{cipher}")
        });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_mean_what_they_mean_to_openssl() {
        // What `openssl ciphers -tls1_2` 3.0 says, without what is not offered here.
        for (list, wanted) in [
            ("DEFAULT", "E256 R256 EC RC E128 R128"),
            ("DEFAULT:!MEDIUM", "E256 R256 EC RC E128 R128"),
            ("HIGH:!aNULL:!MD5", "E256 R256 EC RC E128 R128"),
            ("ALL:!AES256", "EC RC E128 R128"),
            ("HIGH:-AES128:+CHACHA20", "E256 R256 EC RC"),
            ("ECDHE+AESGCM:ECDHE+CHACHA20", "E256 R256 E128 R128 EC RC"),
            ("CHACHA20:AES", "EC RC E256 R256 E128 R128"),
            (
                "ECDHE-RSA-AES128-GCM-SHA256:ALL",
                "R128 E256 R256 EC RC E128",
            ),
            ("AES128:AES256:@STRENGTH", "E256 R256 E128 R128"),
            ("ALL:-AESGCM:AES128", "EC RC E128 R128"),
            ("ALL:-ALL:AES128:CHACHA20", "E128 R128 EC RC"),
            ("ALL:-CHACHA20:-AES128:ALL", "E256 R256 E128 R128 EC RC"),
            ("kEECDH+aRSA", "R256 RC R128"),
            ("ALL:!aRSA:ECDHE-RSA-AES128-GCM-SHA256", "E256 EC E128"),
            ("ALL:+AES256:+aECDSA", "RC R128 R256 EC E128 E256"),
            ("FIPS", "E256 R256 E128 R128"),
            ("aECDSA+AES128:ALL", "E128 E256 R256 EC RC R128"),
            (
                "ECDHE-ECDSA-AES256-GCM-SHA384,ECDHE-RSA-AES256-GCM-SHA384;CHACHA20 AES128",
                "E256 R256 EC RC E128 R128",
            ),
            ("NOSUCH:ECDHE-RSA-AES128-GCM-SHA256", "R128"),
        ] {
            assert_eq!(short(&of_tls12(list).unwrap()), wanted, "{list}");
        }
    }

    #[test]
    fn what_is_not_offered_is_told() {
        let chosen = of_tls12("DHE-RSA-AES256-SHA256:AES128:!MD5:-SEED:@SECLEVEL=1").unwrap();
        assert_eq!(
            chosen.without_effect,
            ["DHE-RSA-AES256-SHA256", "@SECLEVEL=1"]
        );
        for list in [
            "NOSUCH",
            "ALL:!ALL",
            "AES128:@NOSUCH",
            "ecdhe-rsa-aes128-gcm-sha256",
            "",
        ] {
            let error = of_tls12(list).unwrap_err().to_string();
            assert!(error.contains("tls-ciphers"), "{error}");
            assert!(error.contains("ECDHE-RSA-CHACHA20-POLY1305"), "{error}");
        }
    }

    #[test]
    fn suites_of_tls13_keep_their_order() {
        let list = "TLS_CHACHA20_POLY1305_SHA256:NOSUCH:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
        let chosen = of_tls13(list).unwrap();
        let names: Vec<_> = chosen
            .suites
            .iter()
            .map(|suite| format!("{suite:?}"))
            .collect();
        assert_eq!(
            names,
            ["TLS13_CHACHA20_POLY1305_SHA256", "TLS13_AES_128_GCM_SHA256"]
        );
        assert_eq!(chosen.without_effect, ["NOSUCH"]);
        let error = of_tls13("TLS_AES_128_CCM_SHA256").unwrap_err().to_string();
        assert!(
            error.contains("tls-ciphersuites 'TLS_AES_128_CCM_SHA256'"),
            "{error}"
        );
    }
}
