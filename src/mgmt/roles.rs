//! Who may ask for what: one table, and what is not in it is refused.

use super::certs::Role;

/// Everything that can be asked of a management node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// `POST /v1/enroll`
    Enroll,
    /// `GET /v1/challenge`: what possession of a key is proved against.
    Challenge,
    /// `POST /v1/renew`
    Renew,
    /// `GET /v1/slice`: the asking node's own.
    OwnSlice,
    /// `POST /v1/report`
    Report,
    /// `GET /v1/objects/...`
    Read,
    /// `PUT` and `DELETE /v1/objects/...`, `POST /v1/apply`, `POST /v1/nodes/{name}/rotate-key`, `release` and `reset`
    Write,
    /// `POST /v1/tokens`
    MakeToken,
    /// `GET /v1/slice/{node}`: any node's, without PSKs.
    AnySlice,
    /// `GET /v1/matrix`, `/v1/explain`, `/v1/status`
    Observe,
    /// `GET /v1/events`
    Audit,
    /// `GET /v1/nodes/{name}/foreign`: holds PSKs.
    ForeignConfig,
    /// `GET /v1/backup`
    Backup,
}

/// What the other end has shown of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// No certificate.
    Stranger,
    /// A valid node certificate.
    Node,
    /// A node certificate that ended less than [`super::certs::RENEWAL_GRACE`] ago.
    ExpiredNode,
    /// A valid admin certificate.
    Admin,
    /// A valid tenant certificate.
    Tenant,
}

impl Request {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Enroll,
        Self::Challenge,
        Self::Renew,
        Self::OwnSlice,
        Self::Report,
        Self::Read,
        Self::Write,
        Self::MakeToken,
        Self::AnySlice,
        Self::Observe,
        Self::Audit,
        Self::ForeignConfig,
        Self::Backup,
    ];

    /// May the other end ask for this? A node asks as itself only: [`Self::OwnSlice`] and [`Self::Report`] carry no name.
    pub const fn allowed(self, standing: Standing) -> bool {
        match self {
            Self::Enroll => matches!(standing, Standing::Stranger),
            Self::Challenge => matches!(standing, Standing::Stranger | Standing::Node | Standing::ExpiredNode),
            Self::Renew => matches!(standing, Standing::Node | Standing::ExpiredNode),
            Self::OwnSlice | Self::Report => matches!(standing, Standing::Node),
            Self::Read
            | Self::Write
            | Self::MakeToken
            | Self::AnySlice
            | Self::Observe
            | Self::Audit
            | Self::ForeignConfig
            | Self::Backup => matches!(standing, Standing::Admin),
        }
    }
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Stranger, Self::Node, Self::ExpiredNode, Self::Admin, Self::Tenant];

    /// Of a verified certificate.
    pub const fn of(role: &Role, expired: bool) -> Self {
        match (role, expired) {
            (Role::Node { .. }, false) => Self::Node,
            (Role::Node { .. }, true) => Self::ExpiredNode,
            (Role::Admin(_), false) => Self::Admin,
            (Role::Tenant(_), false) => Self::Tenant,
            (Role::Admin(_) | Role::Tenant(_), true) => Self::Stranger,
        }
    }

    /// For a refusal.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Stranger => "without a certificate",
            Self::Node => "a node certificate",
            Self::ExpiredNode => "an expired node certificate",
            Self::Admin => "an admin certificate",
            Self::Tenant => "a tenant certificate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_pairs_pass() {
        use Request as R;
        use Standing as S;
        let pass = [
            (R::Enroll, S::Stranger),
            (R::Challenge, S::Stranger),
            (R::Challenge, S::Node),
            (R::Challenge, S::ExpiredNode),
            (R::Renew, S::Node),
            (R::Renew, S::ExpiredNode),
            (R::OwnSlice, S::Node),
            (R::Report, S::Node),
            (R::Read, S::Admin),
            (R::Write, S::Admin),
            (R::MakeToken, S::Admin),
            (R::AnySlice, S::Admin),
            (R::Observe, S::Admin),
            (R::Audit, S::Admin),
            (R::ForeignConfig, S::Admin),
            (R::Backup, S::Admin),
        ];
        for request in R::ALL {
            for standing in S::ALL {
                assert_eq!(request.allowed(standing), pass.contains(&(request, standing)), "{request:?} {standing:?}");
            }
        }
    }

    #[test]
    fn an_expired_admin_is_a_stranger() {
        assert_eq!(Standing::of(&Role::Admin("a".parse().unwrap()), true), Standing::Stranger);
    }
}
