//! Where a path is believed: whoever may make a directory chooses its name.

/// Where a rule is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Where only root makes cgroups, below no session: where the platform makes its own.
    Platform,
    /// The same place, for a rule of the configuration.
    Configured,
    /// There, too, and only if the platform itself names the id: the layout alone says too little.
    Named,
    /// In the service manager of a user, who makes containers without root.
    User,
    /// Everywhere: an administrator has said so.
    Anywhere,
}

/// Who may make cgroups at a place, and so choose what they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Root alone: no session is above, and every directory above is root's.
    Platform,
    /// A user, in the service manager that systemd has given to that user.
    User,
    /// Root, or a tenant if a container is what it looks like: only its runtime knows. Where platforms make cgroups of
    /// their own nothing stands below one that is a container.
    Candidate,
    /// A tenant: a session is above, or a directory that is not root's.
    Tenant,
}

impl Ground {
    /// Whether a rule of this ground is believed there.
    pub(super) fn holds(self, standing: Standing) -> bool {
        match self {
            Self::Platform => matches!(standing, Standing::Platform | Standing::Candidate),
            Self::Configured | Self::Named => standing == Standing::Platform,
            Self::User => standing == Standing::User,
            Self::Anywhere => true,
        }
    }
}
