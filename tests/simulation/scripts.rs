//! One test per golden-trace script. A name that begins with `w` and a number is about that weakness of
//! redis-sentinel.

macro_rules! scripts {
    ($($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                crate::script::check(stringify!($name));
            }
        )*

        #[test]
        fn every_script_has_a_test() {
            let mut tests = vec![$(stringify!($name).to_owned(),)*];
            tests.sort();
            assert_eq!(tests, crate::script::names());
        }
    };
}

scripts! {
    crash_failover,
}
