//! Access control: users, their passwords and rights, and the log of what was denied.

mod selector;
mod user;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use super::table::{Catalog, CommandId};

pub use selector::{Denied, RuleError, Selector};
pub use user::{SanitizePayload, User, UserRef, hash_password};

/// All users of a program.
pub struct Acl {
    catalog: Rc<Catalog>,
    users: BTreeMap<Vec<u8>, UserRef>,
    default: UserRef,
}

impl Acl {
    /// Only the default user, without a password.
    pub fn new(catalog: &Rc<Catalog>) -> Acl {
        let default = Rc::new(RefCell::new(User::default_user(catalog)));
        Acl {
            catalog: Rc::clone(catalog),
            users: BTreeMap::from([(b"default".to_vec(), Rc::clone(&default))]),
            default,
        }
    }

    /// The user of clients that have not authenticated.
    pub fn default_user(&self) -> UserRef {
        Rc::clone(&self.default)
    }

    /// Whether clients need not authenticate.
    pub fn default_is_open(&self) -> bool {
        let user = self.default.borrow();
        user.is_nopass() && user.is_enabled()
    }

    /// A user by name.
    pub fn user(&self, name: &[u8]) -> Option<&UserRef> {
        self.users.get(name)
    }

    /// All users by name, in alphabetical order.
    pub fn users(&self) -> impl Iterator<Item = &UserRef> {
        self.users.values()
    }

    /// `requirepass`: the only password of the default user; `None` or an empty one opens it.
    pub fn set_requirepass(&mut self, password: Option<&[u8]>) {
        let mut user = self.default.borrow_mut();
        let mut apply = |rule: &[u8]| {
            user.apply(rule, &self.catalog)
                .expect("a password rule is valid");
        };
        apply(b"resetpass");
        match password.filter(|password| !password.is_empty()) {
            Some(password) => apply(&[b">", password].concat()),
            None => apply(b"nopass"),
        }
    }

    /// The user whom these credentials open.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<UserRef> {
        let user = self.users.get(name)?;
        user.borrow().accepts(password).then(|| Rc::clone(user))
    }

    /// Whether a user may run a request.
    ///
    /// # Errors
    /// What the user lacks.
    pub fn check(&self, user: &UserRef, command: CommandId, words: &[Bytes]) -> Result<(), Denied> {
        let user = user.borrow();
        let mut worst = Denied::Command;
        for selector in user.selectors() {
            if selector.is_unrestricted() {
                return Ok(());
            }
            match selector.check(command, words, &self.catalog) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }
}

impl Denied {
    /// The reply of redis-server 7.0.
    pub fn message(&self, command: &str) -> String {
        match self {
            Denied::Command => {
                format!("NOPERM this user has no permissions to run the '{command}' command")
            }
            Denied::Key(_) => "NOPERM this user has no permissions to access one of the keys used \
                               as arguments"
                .to_owned(),
            Denied::Channel(_) => "NOPERM this user has no permissions to access one of the \
                                   channels used as arguments"
                .to_owned(),
        }
    }
}
