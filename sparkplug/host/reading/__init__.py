"""How a message is read: what is decided about it, by what, and in which order.

A batch is screened first: what is no Sparkplug message, or cannot be decoded, is out of it by
then. Data of born nodes whose seq goes on where it was is read all at once (`Resolution.regular`).
Of a node with anything else in the batch, or of which something waits or is in doubt, every
message is taken by itself, in order of arrival (`Ordering.read`), by the tables below; in each the
first line that holds decides. The rules in full are in docs/decoding.md, from "Which session an
NDEATH ends" to "Births of sessions that ended".

**Messages that take part in seq**: NDATA, DDATA, DBIRTH, and DDEATH unless it has no bytes.
*Ahead* is the seq less the expected one, modulo 256; 0 for a node that is seen in part. From the
third line on this is `decision.decide`::

    node                            ahead     what happens
    ------------------------------  --------  ----------------------------------------------------
    any, while births from disk or  any       read if the node is born, else nothing; no seq counts
      of a server are taken in
    unknown                         any       noted as a stranger's; held for the NBIRTH
    no session, a late birth waits  any       if the seq is the next behind that birth's: the late
                                              birth is read as an NBIRTH, and this decided anew
    no session, or in doubt         any       held for the NBIRTH; but metrics in data whose names
                                              a server's kept birth declares are read at once
    born, unconfirmed               not 0     a gap of reason AWAY; in doubt from now on; held
    born, unconfirmed, in part      0         no gap; in doubt from now on; held
    born                            0         read in order, confirmed from now on; the next seq
                                              is expected; what follows in the window is read
    born                            1 - 127   there already: DUPLICATE; else it waits in the window
                                              for what is missing, not longer than it may
    born                            128 - 255 read already: DUPLICATE; else counted LATE and read
                                              late: a gap is smaller by one, or healed; missing in
                                              none, counting is lost unless 0 comes in time

A node is *in doubt* if it is in a session, but may have given its aliases anew; *unconfirmed* from
an absence of the host until a message continues its seq.

**How they are read in a session** (`SessionReader`), a device by what is known of it then. *Held*
is what waited for the NBIRTH or for the birth of its device::

    message  device      in order               late                     held
    -------  ----------  ---------------------  -----------------------  -------------------------
    NDATA    -           read                   read, aliases if sure    read, aliases if sure
    DDATA    alive       read                   read, aliases if sure    read, aliases if sure
    DDATA    not alive   held for its DBIRTH    held for its DBIRTH      held for its DBIRTH
    DBIRTH   alive       its birth              as data, by names alone  as data, by names alone
    DBIRTH   not alive   its birth              its birth                held for its DBIRTH
    DDEATH   alive       its death              its death, unless sent   DEATH_OF_OTHER_SESSION
                                                before its birth
    DDEATH   not alive   a birth is asked for   DEATH_OF_OTHER_SESSION   DEATH_OF_OTHER_SESSION

Aliases are *sure* if the message was sent after the present birth for certain, or if the last two
births give them to one tag. Metrics that no birth declares are held themselves, or given up if
they were held before; so are, behind a gap, those without name of a node that moves its aliases.
A birth of a device brings back what was held for it.

**NBIRTH**, whatever its seq::

    the birth                                     what happens
    --------------------------------------------  ------------------------------------------------
    has the bdSeq of an NDEATH less than two      waits as a late birth for what follows it; if the
      seconds ago; the node has no session and      windows have no room for it, a birth is asked
      no late birth                                 for, and the lines below decide
    is the very late birth that waits, again      DUPLICATE
    has metrics, but none with a name             quarantined; the session of the node is lost
    is of a node too many                         quarantined
    has more tags than there is room for          quarantined; the session is lost
    any other                                     a session begins: see below

What waits in the window and was sent before it is read first. Then the session begins, and all gaps
are healed. What was held for it and was sent before it is read next, then a late birth as data,
then whatever was sent after it, by the tables above.

**NDEATH**::

    node             bdSeq                    what happens
    ---------------  -----------------------  ----------------------------------------------------
    in a session     of an earlier session    DEATH_OF_OTHER_SESSION
    in a session     any other, or none       the window is read, the session ends, what is held is
                                              given up; if it has no bytes a birth is asked for
    in no session    any                      DEATH_OF_OTHER_SESSION; if it has any bytes what is
                                              held, a late birth too, is given up

What is held only because its aliases are not sure is not given up: a birth of any later session
tells.

**DDEATH of no bytes**: the death of a device that is alive, if its node is not in doubt, and a
birth is asked for; else DEATH_OF_OTHER_SESSION. **A birth that cannot be read**: the session of
its node or device is lost, because the aliases mean something else from there on. So is that of
a device whose DBIRTH has no name in it, or more tags than there is room for.

From the ground up: `Resolution` (which tag a metric is of), `AwaitingBirths` (what is held) with
`LateBirths` (births of ended sessions) and `Recall` (what is read with a batch again),
`UndeclaredMetrics` (metrics that no birth declares), `Lifecycle` (births and deaths), `Ordering`
(one message as it comes) with its own two parts `SessionReader` (one message in its session) and
`Windows` (what came out of order), `BatchReader` (a whole batch), `Restoration` (a start).
"""
