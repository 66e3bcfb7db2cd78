//! The vocabulary of the benchmark's texts.

/// Things that people who build software write about.
pub(super) const NOUNS: &str = "
account adapter address agent agreement alarm alert allocation amount analysis answer archive argument
article artifact assembly assertion asset assignment attempt audit author backend backlog backup balance
bandwidth barrier baseline batch benchmark billing binding blob border bottleneck boundary branch breaker
bridge budget buffer bug build bundle button cache calendar callback campaign canvas capacity capture
catalog certificate chain change channel chapter chart check checkout checksum child choice client clock
closure cluster code collection column command comment commit community company compiler component
condition conference config conflict connection constraint consumer container content context contract
cookie copy core corner cost counter coverage crash credential criterion currency cursor customer cycle
daemon dashboard deadline deadlock decision default defect delay delivery demo dependency deployment design
desk device dialog dictionary diff digest directory disk display document domain download draft driver
duration edge editor effect element email endpoint engine entry environment error estimate event evidence
example exception exchange export extension failure fallback fault feature feedback field figure file filter
finance firewall fixture flag folder font footer forecast form format fragment frame framework frontend
function gateway generator glossary goal grammar graph group guard guide handler hardware hash header health
heap history hook host icon identity image import incident index inference inventory invoice issue item
iterator job journal kernel keyboard label language latency layer layout leader ledger legend lesson library
licence limit link linter listener load locale lock logger loop machine mailbox manager manual map margin
market matrix measure meeting member memory menu merge message method metric middleware migration minute
mirror mobile mode model module monitor mutex namespace network node notebook notice number object office
offset operation operator option order outage outline output owner package page parser partition partner
password patch path pattern payload payment peer performance permission phone picture pipeline pixel platform
plugin pointer policy pool port position prefix preview price printer priority probe process producer product
profile program progress project promise prompt property proposal protocol prototype provider proxy queue
quota range ranking ratio reader reason receipt record recovery reference region registry regression release
renderer replica report repository request requirement research resource response restart result retry
revenue review revision ring risk roadmap role rollback root route router row rule runtime sample sandbox
scanner schedule schema scope screen script search secret section segment selector sensor sequence server
session setting shape shard shell shipment signal signature sink site size slot snapshot socket solution
source space spreadsheet stack staff stage standard startup statement station storage strategy stream string
structure student stub subscription summary supplier support surface survey switch symbol syntax system table
tag target task team template tenant terminal test theme thread threshold ticket timeline timer title token
tool topic trace traffic training transaction transfer transition translation transport tree trigger tunnel
tutorial unit update upload user validation value variable vector vendor version video view visitor volume
voucher warehouse warning watcher widget wildcard window wizard worker workflow workshop wrapper writer zone";

/// What is done to them; each takes `-ed` after the loss of a final `e`.
pub(super) const VERBS: &str = "
abandon accept adapt add adjust advance align allow announce append apply approve archive assign attach audit
automate balance batch benchmark block boost bundle cache calculate cancel capture check clarify clean cluster
collect compare complete compress configure confirm connect contain convert copy correct cover create debug
decide declare defer define delete deliver deploy deprecate derive detect disable discard discover display
document double download drain duplicate edit embed enable encode enforce enrich escape estimate evaluate
evict exclude expand expect expire explain export expose extend extract fetch filter finish fix flatten flush
fold force format forward freeze gather generate group guard handle harden hash highlight ignore implement
import improve index infer inject inline insert inspect install integrate interrupt introduce invalidate
invent invoke isolate iterate join label launch limit link list load lock manage mark mask measure merge
migrate mirror monitor mount move mute name normalise notify observe optimise order organise outline override
pack parse patch pause pin plan poll prefer prepare prevent print process profile promote propose protect
prune publish pull push queue raise rank rebase rebuild receive reclaim record recover redirect reduce
refactor refine register reject release reload remove rename render repair replace replay report request
require reserve reset resolve respond restart restore retain retire retry return reuse reveal review rework
rotate sample scale scan schedule scope seal search select serialise serve settle share shift shorten sign
silence simplify skip snapshot solve sort split squash stabilise stage start stop store stream stress
structure submit suggest support suspend swap switch sync tag test throttle tighten toggle trace track train
transform translate trigger trim tune unify unlock update upgrade upload use validate verify view visit walk
warm watch widen wrap";

/// What they are like.
pub(super) const ADJECTIVES: &str = "
absolute abstract accurate active actual adaptive adjacent ambiguous ancient annual anonymous atomic audible
automatic average backward bare basic binary blank blocking bold brief bright brittle broad broken calm
careful central cheap circular classic clear coarse cold common compact complex concrete concurrent
consistent constant cosmetic costly crucial current custom cyclic daily dark dead dense dependent direct
distant distinct dormant double dry dual durable dynamic eager early elastic empty encrypted entire ephemeral
equal exact excessive exclusive explicit external extra fair false familiar fast fatal faulty final fine
finite fixed flaky flat flexible foreign formal fragile free frequent fresh full fuzzy general generic gentle
global graceful gradual granular greedy green harmless heavy hidden high historic honest hot hourly huge
hybrid idempotent identical idle illegal immediate immutable implicit important inactive incremental
independent indirect inner instant intermittent internal invalid inverse isolated joint known large late lazy
leading lean legacy legal light linear literal little live local lonely long loose loud low lucky magic main
major manual massive mature medium mild minimal minor missing mixed mobile modern modest modular monthly
multiple mutual naive narrow native neat negative nested neutral noisy nominal normal novel obscure obsolete
obvious odd offline old opaque open optional orphaned outer outgoing parallel partial passive patient
pending periodic permanent persistent plain polite poor popular portable positive possible precise
preliminary present primary private proper public pure quick quiet random rapid rare raw ready real recent
recursive redundant regional regular relative reliable remote resilient reverse rich rigid robust rough
round safe scarce secondary secure semantic sensitive separate serial shallow sharp short silent similar
simple single slow small smart smooth sober solid sparse special spurious square stable stale standard static
steady steep sticky stiff strange strict strong subtle sudden sufficient suitable symmetric synchronous
synthetic temporary tentative thick thin tidy tiny total tough tragic transient transparent trivial true
trusted typical unique universal unused upper urgent useful useless vague valid various vast verbose vertical
virtual visible vital volatile warm weak weekly weird whole wide wild wrong yearly young";

/// First halves of coined names.
pub(super) const HEADS: &str = "
acorn alder amber anchor apex arbor arrow ash aspen atlas aurora badger bamboo basalt beacon birch bison
blaze bramble breeze brook canyon cedar cinder cloud cobalt comet copper coral crane crest crimson crystal
dawn delta drift dune dusk eagle ember falcon fern flint forge fox frost garnet glacier granite grove harbor
hawk hazel heron hollow indigo iris iron ivory jade jasper juniper kelp kestrel lagoon lark laurel lava
lichen lilac linden lotus lunar lynx magma maple marble marsh meadow mesa mist moss nectar nettle nickel nova
oak oasis ocean olive onyx opal orbit orchid osprey otter owl pebble peregrine pine plume polar poppy prairie
prism quail quartz rain raven reef ridge river robin rowan ruby sable saffron sage salmon sand sequoia shadow
silver slate solar spark sparrow spruce stone storm summit swift tawny teal thistle thunder tidal timber topaz
tundra umber valley velvet violet walnut willow wind winter wolf wren zephyr zinc";

/// Second halves of coined names.
pub(super) const TAILS: &str = "
base bay beam bench board bolt book bound box branch cast chain cliff core craft cup dale deck dock door fall
fare field flow fold ford frame gate glow guard hall haven head hill hold hook house keep key kit lab land
lane latch leaf lens light line link lock loom mark mast mill mint node path peak pier pine point port post
press rail ranch reach ring rise road rock root run sail scale scope seal shelf ship shore sight song spire
spring stack star stead step stream tide tower trail vale vault view ward watch wave well wheel wick wing wood
works yard";
