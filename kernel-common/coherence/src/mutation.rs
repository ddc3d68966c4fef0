//! Rules that a checker can take out of a protocol to see that it notices.

/// One rule, named by what is wrong without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutation {
    /// Voting: a peer's stamps do not advance this node's clock (D1).
    ClockIgnoresPeers,
    /// Voting: a fetching node answers every other fetch with Copy_Void (4.8, D1).
    AnswersWhileFetching,
    /// Voting: a Fetch in a Writing state is answered at once with Copy_Void (4.6).
    AnswersFetchWhileWriting,
    /// Voting: a Fetch_Write waits in Writing Pend 2 too, as published (D3).
    DelaysFetchWriteAfterLoss,
    /// Voting: an Invalid during Invalid Read 1 does not repeat the Fetch (4.5).
    ReadsPastAnInvalid,
    /// Voting: an Invalid during a fetch does not repeat it (4.8).
    FetchesPastAnInvalid,
    /// Voting: a writer never votes against another (4.3).
    NeverVotesAgainst,
    /// Voting: equal stamps are no reason to vote against (4.3).
    NoTieBreak,
    /// Voting: a Shared copy stays mapped after its Ack (4.2).
    KeepsCopyAfterAck,
    /// Voting: a write begins with one vote in hand (4.2).
    ElectsOnTheFirstVote,
    /// Voting: of several copies the last to arrive is taken (D2).
    TakesAnyVersion,
    /// Voting: a fetch that meets no copy, but a user, ends in Not Replicated (D6).
    ForgetsThatOthersUseThePage,
    /// Voting: a Fetch that met Copy_Voids only is not repeated (D7).
    TakesVoidForLost,
    /// Voting: a vote does not tell Writing Pend from Writing Read (D8).
    OneKindOfRival,
    /// Voting: a loser drops its copy although it voted for nobody (D9).
    LoserDropsItsCopy,
    /// Voting: the owner's Copy_Void is not followed by a multicast (5.2).
    TrustsTheOwner,
    /// Voting: an Ack given in Writing Read does not repeat the Fetch_Write (D5).
    WritesOnAStaleCopy,
    /// Voting: a retry takes a new stamp (4.3).
    RenewsTheStamp,
    /// Voting: an eviction may drop the last copy.
    EvictsTheAnchor,
    /// Directory: a writer does not wait for the InvAcks.
    WritesBeforeInvAcks,
    /// Directory: a forwarded reader that meets a waiting owner is forgotten.
    ForgetsReadersWhileWaiting,
    /// Directory: an upgrade that another writer came before goes on as if it had its copy.
    UpgradesAnInvalidatedCopy,
    /// Directory: a waiting reader acknowledges an Inv before its data is there.
    AcksBeforeTheReadIsDone,
    /// Directory: a copy stays mapped after its InvAck or hand-over.
    KeepsCopyAfterInvAck,
    /// Directory: the home does not note a reader.
    ForgetsASharer,
    /// Directory: the home orders a request of a node that knows of a death that it does not.
    OrdersBeforeTheNews,
    /// Directory: a node that waits when somebody dies does not tell the home.
    SuffersInSilence,
    /// Directory: the home orders a request that a Gift has served.
    OrdersServedRequests,
    /// Directory: a node that has asked for nothing drops a Gift.
    DropsGifts,
    /// Directory: the home gives a page up that is on its way between two survivors.
    RebuildsWithoutDraining,
    /// Directory: after a death nodes that have joined again meanwhile are waited for.
    WaitsForNewcomers,
    /// Directory: what a node asks for that joins again while an entry is rebuilt is never answered.
    ForgetsNewcomers,
    /// Directory: what was ordered for a node that has died goes to the one that has taken its place.
    ServesTheDead,
    /// Shared: the lead goes on before the siblings' mappings are gone.
    GoesOnBeforeTheAcks,
    /// Shared: a sibling acknowledges a Revoke and keeps its mapping.
    KeepsMappingAfterRevoke,
    /// Shared: a sibling acknowledges a Revoke during its hold.
    RevokesDuringTheHold,
    /// Shared: the lead does not note that a sibling maps a page.
    ForgetsAMapping,
    /// Shared: a downgrade of the lead leaves the siblings' mappings writable.
    LeavesSiblingsWriting,
    /// Shared: of several siblings that wait for a page only the first is answered.
    AnswersOneSibling,
    /// Shared: a sibling that died still has to acknowledge.
    WaitsForDeadSiblings,
    /// Shared: a Query of a former life of a page is answered.
    MapsAFormerLife,
    /// Shared: a payload that comes while mappings are taken away goes into the page's frame.
    InstallsUnderMappings,
    /// Shared: a sibling gives a mapping up although it has asked for another.
    DropsWhileAsking,
}

impl Mutation {
    /// Every rule that can be taken out.
    pub const ALL: &[Self] = &[
        Self::ClockIgnoresPeers,
        Self::AnswersWhileFetching,
        Self::AnswersFetchWhileWriting,
        Self::DelaysFetchWriteAfterLoss,
        Self::ReadsPastAnInvalid,
        Self::FetchesPastAnInvalid,
        Self::NeverVotesAgainst,
        Self::NoTieBreak,
        Self::KeepsCopyAfterAck,
        Self::ElectsOnTheFirstVote,
        Self::TakesAnyVersion,
        Self::ForgetsThatOthersUseThePage,
        Self::TakesVoidForLost,
        Self::OneKindOfRival,
        Self::LoserDropsItsCopy,
        Self::TrustsTheOwner,
        Self::WritesOnAStaleCopy,
        Self::RenewsTheStamp,
        Self::EvictsTheAnchor,
        Self::WritesBeforeInvAcks,
        Self::ForgetsReadersWhileWaiting,
        Self::UpgradesAnInvalidatedCopy,
        Self::AcksBeforeTheReadIsDone,
        Self::KeepsCopyAfterInvAck,
        Self::ForgetsASharer,
        Self::OrdersBeforeTheNews,
        Self::SuffersInSilence,
        Self::OrdersServedRequests,
        Self::DropsGifts,
        Self::RebuildsWithoutDraining,
        Self::WaitsForNewcomers,
        Self::ForgetsNewcomers,
        Self::ServesTheDead,
        Self::GoesOnBeforeTheAcks,
        Self::KeepsMappingAfterRevoke,
        Self::RevokesDuringTheHold,
        Self::ForgetsAMapping,
        Self::LeavesSiblingsWriting,
        Self::AnswersOneSibling,
        Self::WaitsForDeadSiblings,
        Self::MapsAFormerLife,
        Self::InstallsUnderMappings,
        Self::DropsWhileAsking,
    ];
}

/// The rules that are in force: all of them, and nothing is stored, without the feature `mutants`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    #[cfg(feature = "mutants")]
    removed: Option<Mutation>,
}

impl Rules {
    /// Whether a rule is taken out.
    #[inline]
    pub(crate) fn lack(self, rule: Mutation) -> bool {
        #[cfg(feature = "mutants")]
        return self.removed == Some(rule);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = rule;
            false
        }
    }

    /// Takes one rule out; without the feature `mutants` every rule stays.
    #[cfg(feature = "model")]
    pub(crate) fn take_out(&mut self, rule: Option<Mutation>) {
        #[cfg(feature = "mutants")]
        {
            self.removed = rule;
        }
        #[cfg(not(feature = "mutants"))]
        let _ = rule;
    }
}
