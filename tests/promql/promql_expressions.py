"""Expressions compared with a real Prometheus, by what they exercise.

Every one is asked at instants and over a range. What differs between Prometheus 2 and 3 is not
here but in ``promql_known``.
"""

from __future__ import annotations

SELECTORS = """
http_requests_total
http_requests_total{service="cart"}
http_requests_total{service!="cart",code="200"}
http_requests_total{service=~"ca.*|user",code!~"4.."}
http_requests_total{service=~"ca"}
http_requests_total{nosuch=""}
http_requests_total{nosuch!=""}
http_requests_total{code=~"2..",pod=~".+-0",service!~"s.+"}
{__name__="memory_bytes",pod="cart-0"}
{__name__=~"memory.*|limit_bytes",service="user"}
{job="app",__name__!="up",code="500"}
{pod="user-0"}
text_info{text="ünïcödé"}
text_info{text=~"[[:alpha:]]+"}
text_info{text=~"a\\\\.b"}
text_info{text=~"(?i)PLAIN"}
memory_bytes offset 5m
memory_bytes{service="cart"} offset -2m
memory_bytes @ 1700001333.6
memory_bytes @ 1700001333.6 offset 90s
memory_bytes @ start()
memory_bytes @ end()
memory_bytes offset 3m @ end()
flaky
sparse_total
odd
constant
pod_info
up
nosuch
{nosuch=~".+"}
"""

RANGES = """
rate(http_requests_total[1m])
rate(http_requests_total{pod="search-1"}[4m])
rate(http_requests_total[5m] offset 3m)
rate(http_requests_total[2m] @ 1700001333.6)
rate(http_requests_total[90s] offset -1m)
rate(sparse_total[3m])
rate(scale[2m])
increase(http_requests_total[7m])
increase(sparse_total[100s])
increase(duration_seconds_bucket[3m])
irate(http_requests_total[2m])
irate(sparse_total[5m])
delta(temperature[4m])
delta(memory_bytes[10m])
idelta(temperature[1m])
idelta(sparse_total[5m])
deriv(temperature[3m])
deriv(memory_bytes[10m])
deriv(constant[5m])
predict_linear(memory_bytes[10m], 3600)
predict_linear(temperature[5m], -60)
predict_linear(constant[5m], 100)
predict_linear(temperature[5m] offset 1m, 30)
predict_linear(memory_bytes[5m], time() / 1e7)
changes(queue_depth[5m])
changes(up[10m])
changes(odd[4m])
changes(flaky[8m])
resets(http_requests_total[10m])
resets(temperature[5m])
resets(flaky[8m])
avg_over_time(temperature[4m])
avg_over_time(scale[4m])
avg_over_time(flaky[3m])
avg_over_time(odd[90s])
sum_over_time(queue_depth[6m])
sum_over_time(flaky[2m])
min_over_time(temperature[4m])
max_over_time(memory_bytes[7m])
min_over_time(odd[2m])
max_over_time(odd[2m])
count_over_time(flaky[5m])
count_over_time(http_requests_total[4m])
count_over_time(odd[4m])
stddev_over_time(temperature[5m])
stdvar_over_time(memory_bytes[5m])
stddev_over_time(constant[5m])
present_over_time(flaky[2m])
last_over_time(flaky[5m])
last_over_time(http_requests_total[20m])
last_over_time(odd[1m])
quantile_over_time(0.9, temperature[5m])
quantile_over_time(0, queue_depth[5m])
quantile_over_time(1, queue_depth[5m])
quantile_over_time(0.31, odd[4m])
quantile_over_time(1.5, temperature[5m])
quantile_over_time(-1, temperature[5m])
quantile_over_time(NaN, temperature[5m])
quantile_over_time(scalar(up{instance="10.0.0.0:80"}) / 2, temperature[5m])
absent_over_time(flaky{n="gaps"}[1m])
absent_over_time(nosuch{a="b",c=~"d",e="f",e="g"}[5m])
absent_over_time(nosuch[5m])
rate(nosuch[5m])
avg_over_time({__name__=~"memory_bytes|limit_bytes"}[2m])
"""

SUBQUERIES = """
max_over_time(rate(http_requests_total[1m])[5m:30s])
avg_over_time(sum(rate(http_requests_total[2m]))[10m:1m])
min_over_time(temperature[10m:20s])
count_over_time(flaky[5m:7s])
count_over_time(up[10m:])
rate(http_requests_total[10m:45s])
max_over_time(sum by (service) (rate(http_requests_total[2m]))[6m:30s] offset 2m)
sum_over_time(queue_depth[4m:13s] @ 1700001555.6)
avg_over_time(temperature[5m:10s] @ end())
max_over_time(avg_over_time(temperature[2m])[4m:30s] @ start())
last_over_time((memory_bytes > 1e8)[3m:20s])
quantile_over_time(0.5, (temperature * 2)[5m:15s])
sum_over_time(vector(1)[2m:10s])
avg_over_time(time()[2m:10s])
max_over_time(min_over_time(temperature[2m5s:10s])[4m:30s])
stddev_over_time((queue_depth + 1)[5m:20s] offset -1m)
present_over_time((flaky > 0)[3m:15s])
deriv(rate(http_requests_total[2m])[5m:30s])
increase((sum(http_requests_total{service="cart"}))[5m:20s])
absent_over_time((flaky > 100)[2m:10s])
changes(round(temperature)[5m:20s])
"""

AGGREGATIONS = """
sum(http_requests_total)
sum by (service) (http_requests_total)
sum by (service, code) (rate(http_requests_total[2m]))
sum without (pod) (http_requests_total)
sum without (pod, code, job) (rate(http_requests_total[5m]))
sum by (nosuch) (memory_bytes)
sum by (__name__) ({__name__=~"memory_bytes|limit_bytes"})
avg(temperature)
avg by (service) (memory_bytes)
avg(scale)
min(temperature)
max by (service) (memory_bytes)
max(odd)
min(odd)
count(flaky)
count by (code) (http_requests_total)
count(nosuch)
group by (service) (memory_bytes)
group without (zone) (temperature)
stddev(memory_bytes)
stdvar by (service) (memory_bytes)
stddev(constant{n="third"})
sum(odd)
topk(2, memory_bytes)
bottomk(3, memory_bytes)
topk(1, odd)
bottomk(2, odd)
topk(100, temperature)
topk(0, temperature)
topk(-1, temperature)
topk(scalar(count(up == 1)), memory_bytes)
topk(2.9, memory_bytes)
topk by (service) (1, memory_bytes)
bottomk without (pod) (1, memory_bytes)
quantile(0.5, memory_bytes)
quantile by (service) (0.9, memory_bytes)
quantile(0.25, odd)
quantile(2, memory_bytes)
quantile(-0.1, memory_bytes)
quantile(NaN, memory_bytes)
quantile(scalar(avg(up)), memory_bytes)
count_values("depth", queue_depth)
count_values by (service) ("v", up)
count_values without (instance) ("up", up)
count_values("v", odd)
count_values("n", constant)
count_values("queue", queue_depth)
count_values("job", up)
sum(sum by (service) (memory_bytes))
"""

OPERATORS = """
1 + 2 * 3 - 4 / 8 ^ 2 % 3
2 ^ 3 ^ 2
-2 ^ 2
7 % -3
-7 % 3
1 / 0
0 / 0
3 > bool 2
1 == bool NaN
1 atan2 2
0x1F + 1e3
+5
memory_bytes + 1
memory_bytes / 2 ^ 20
2 - temperature
temperature % 3
temperature ^ 2
sum without () (temperature) atan2 2
-temperature
+temperature
-(temperature - 1)
memory_bytes > 1.2e8
1.2e8 < memory_bytes
memory_bytes > bool 1.2e8
temperature >= 0 <= 15
temperature != 0
up == 0
up == bool 1
odd == odd
odd != odd
memory_bytes / on (service) group_left limit_bytes
memory_bytes / on (service) group_left (tier) limit_bytes
limit_bytes - on (service) group_right memory_bytes
limit_bytes - on (service) group_right (tier) memory_bytes
memory_bytes / ignoring (pod, tier) group_left limit_bytes
memory_bytes * on (pod) group_left (node, version) pod_info
memory_bytes * on (pod) group_left (nosuch) pod_info
pod_info * on (pod) memory_bytes
http_requests_total{code="500"} / ignoring (code) http_requests_total{code="200"}
rate(http_requests_total[2m]) / ignoring (code) group_left sum without (code) (memory_bytes)
http_requests_total / ignoring (code) group_left sum without (code) (http_requests_total)
sum(rate(http_requests_total{code="500"}[1m])) / sum(rate(http_requests_total[1m]))
memory_bytes > on (service) group_left limit_bytes / 2
memory_bytes > bool on (service) group_left limit_bytes / 2
memory_bytes == on (service, pod) memory_bytes
memory_bytes - memory_bytes offset 1m
memory_bytes and http_requests_total
memory_bytes and on (pod) pod_info
memory_bytes and ignoring (tier, pod) limit_bytes
memory_bytes unless on (pod) pod_info
memory_bytes unless on (pod) pod_info{node="n1"}
memory_bytes or on (pod) pod_info
memory_bytes{service="cart"} or memory_bytes
pod_info or memory_bytes
up or vector(0)
nosuch or vector(0)
nosuch or nosuch
(memory_bytes > 1.5e8) or on (service) (limit_bytes)
sum(temperature) or vector(1) and vector(1)
vector(1) and on () memory_bytes
temperature + nosuch
temperature + on () group_left vector(3)
sum by (service) (memory_bytes) / sum by (service) (limit_bytes)
sum by (pod) (memory_bytes) * on (pod) group_left (node) (pod_info == 1)
(up == 1) * 2
temperature > 0 and temperature < 10 or temperature < -15
(memory_bytes > bool 1e8) + (memory_bytes < bool 1e8)
1 - avg(up)
"""

FUNCTIONS = """
abs(temperature)
ceil(temperature)
floor(temperature)
exp(temperature)
ln(temperature)
log2(memory_bytes)
log10(temperature)
sqrt(temperature)
sgn(temperature)
sgn(odd)
sin(temperature)
cos(temperature)
tan(temperature)
asin(temperature / 30)
acos(temperature / 30)
atan(temperature)
sinh(temperature / 10)
cosh(temperature / 10)
tanh(temperature / 10)
asinh(temperature)
acosh(temperature)
atanh(temperature / 25)
deg(temperature)
rad(temperature)
pi()
pi() * temperature
round(temperature)
round(temperature, 0.3)
round(temperature, 5)
round(-temperature, 0.1)
clamp(temperature, -5, 5)
clamp(temperature, 5, -5)
clamp_min(temperature, 3)
clamp_max(temperature, 3)
clamp(odd, 1, 3)
clamp_max(temperature, NaN)
clamp(temperature, scalar(min(up)), 8)
absent(nosuch)
absent(nosuch{a="b",c!="d",e=~"f"})
absent({a="b"})
absent(nosuch{a="b",a="c"})
absent(memory_bytes)
absent(sum(nosuch{a="b"}))
absent(flaky{n="gaps"})
scalar(temperature)
scalar(temperature{zone="north"})
scalar(nosuch)
vector(time())
vector(scalar(temperature{zone="east"}))
time()
time() - started_seconds
timestamp(memory_bytes)
timestamp(memory_bytes offset 2m)
timestamp(memory_bytes @ 1700001333.6)
timestamp(memory_bytes + 1)
timestamp((flaky))
timestamp(vector(1))
minute()
hour()
day_of_week()
day_of_month()
day_of_year()
days_in_month()
month()
year()
minute(started_seconds)
hour(started_seconds)
day_of_week(started_seconds)
day_of_month(started_seconds)
day_of_year(started_seconds)
days_in_month(started_seconds)
month(started_seconds)
year(started_seconds)
year(vector(-1e9))
day_of_week(vector(-86400.5))
sort(temperature)
sort_desc(temperature)
sort(odd)
sort_desc(odd)
sort_desc(sum by (service) (memory_bytes))
label_replace(memory_bytes, "host", "$1-$2", "pod", "(.*)-(.*)")
label_replace(memory_bytes, "host", "x", "pod", "cart.*")
label_replace(memory_bytes, "service", "", "service", ".*")
label_replace(memory_bytes, "n", "${name}!", "pod", "(?P<name>[a-z]+)-.")
label_replace(memory_bytes, "d", "$$1$9", "pod", "(.*)")
label_replace(memory_bytes, "pod", "all", "pod", "nosuch")
label_replace(memory_bytes, "new", "set", "nosuch", "")
label_replace(memory_bytes, "__name__", "ram", "pod", ".*")
label_replace(rate(http_requests_total[1m]), "kind", "$1xx", "code", "(.)..")
sum by (kind) (label_replace(rate(http_requests_total[1m]), "kind", "$1xx", "code", "(.)..")) > 0
label_join(memory_bytes, "all", "/", "service", "pod", "nosuch")
label_join(memory_bytes, "pod", "", "nosuch")
label_join(up, "all", ",")
histogram_quantile(0.9, rate(duration_seconds_bucket[2m]))
histogram_quantile(0.5, sum by (le) (rate(duration_seconds_bucket[5m])))
histogram_quantile(0.99, sum by (le, service) (increase(duration_seconds_bucket[3m])))
histogram_quantile(0, duration_seconds_bucket)
histogram_quantile(1, duration_seconds_bucket)
histogram_quantile(0.5, duration_seconds_bucket)
histogram_quantile(0.02, duration_seconds_bucket{service="balance"})
histogram_quantile(2, duration_seconds_bucket)
histogram_quantile(-1, duration_seconds_bucket)
histogram_quantile(NaN, duration_seconds_bucket)
histogram_quantile(0.5, duration_seconds_bucket{le!="+Inf"})
histogram_quantile(0.5, memory_bytes)
histogram_quantile(0.5, duration_seconds_bucket{le="+Inf"})
histogram_quantile(scalar(avg(up)), rate(duration_seconds_bucket[2m]))
rate(duration_seconds_sum[2m]) / rate(duration_seconds_count[2m])
sum(rate(duration_seconds_bucket{le="0.1"}[5m])) / sum(rate(duration_seconds_count[5m]))
"""

SYNTAX = r"""
SUM BY (service) (memory_bytes)
sum(memory_bytes) by (service)
sum(memory_bytes) without (pod)
sum  by(service,)( memory_bytes )
memory_bytes{service="cart",}
memory_bytes { service = 'cart' , pod != `cart-1` }
memory_bytes OFFSET 1m
memory_bytes @ 1.7000013336e9
memory_bytes offset 1h30m
temperature AND temperature > 0
temperature UNLESS temperature > 0 OR temperature < -5
memory_bytes # with a comment
http_requests_total{code=~`2..`}
text_info{text="line one\nline two"}
text_info{text="\u00fcn\u00efc\u00f6d\u00e9"}
label_join(up, "quoted", "\"\\'\t", "job", "instance")
1e-3 + .5 + 0x10 + 1E2
Inf - -inf
nAn
((((temperature))))
- - temperature
temperature * -1
temperature>0<10
temperature > bool 0 == bool 1
avg_over_time((temperature)[1m:])
sum(rate(http_requests_total[1m])) by (service) > 10
topk (2, memory_bytes) by (service) + 1
memory_bytes * on (pod) group_left () pod_info
memory_bytes{pod=~".*-1"} / IGNORING (pod) GROUP_LEFT (tier) sum by (service) (limit_bytes)
job:nosuch:rate5m or up
sum by (job, on, by) (up)
clamp_max(clamp_min(temperature, -2), 2) == temperature
"""

REFUSED = """
memory_bytes * on (service) memory_bytes
memory_bytes * on (service) group_left memory_bytes
memory_bytes * on (service) limit_bytes
limit_bytes * on (service) group_left memory_bytes
memory_bytes * on () limit_bytes
memory_bytes * on (pod) group_left (service) pod_info * on (service) group_right limit_bytes
abs({__name__=~"up|constant|odd",n="none"} or {__name__="constant",n="zero"}) + on () vector(1)
rate({__name__=~"duration_seconds_(sum|count)"}[1m])
-{__name__=~"duration_seconds_(sum|count)"}
{__name__=~"duration_seconds_(sum|count)"} * 2
label_replace(temperature, "zone", "one", "zone", ".*")
label_replace(temperature, "a-b", "one", "zone", ".*")
label_replace(temperature, "a", "one", "zone", "(")
label_join(temperature, "a-b", "-", "zone")
label_join(temperature, "zone", "-", "nosuch")
count_values("a-b", up)
topk(NaN, memory_bytes)
topk(1e30, memory_bytes)
temperature{zone=~"("}
"""

MALFORMED = """
http_requests_total +
sum(
rate(temperature)
sum(temperature[5m])
temperature[5m] + 1
temperature{
temperature{zone=north}
nosuchfunction(temperature)
topk(temperature)
1 > 2
{}
{zone=~".*"}
temperature[0s]
temperature and 1
temperature offset
temperature @ foo
sum by (service (memory_bytes)
rate(http_requests_total[5m])[5m]
(http_requests_total[5m])[5m:]
"string" + 1
memory_bytes or on (pod) group_left pod_info
foo bar
1 +* 2
sum(temperature) by
sum by temperature
sum by (service) temperature
temperature{zone="a" "b"}
temperature{zone}
temperature{="a"}
temperature{zone="a",,}
temperature[5m
temperature[5m:1m
temperature)
temperature]
temperature}
(temperature
rate(temperature[5m)
"abc
temperature $ 2
temperature ! 2
rate()
rate(temperature[5m], 1)
round(temperature, 1, 2)
sum()
sum(temperature, 1)
topk("a", temperature)
quantile(temperature, temperature)
count_values(1, temperature)
-"a"
-temperature[5m]
temperature bool 2
1 + bool 2
temperature + on temperature
temperature + on (zone temperature
temperature[5m 1m]
temperature ==
label_replace(temperature, "a", "b", "c")
rate(temperature[5m]) + sum(rate(temperature))
sum(rate(temperature[1m])) by (zone
and temperature
temperature{zone="a"}}
sum(temperature) + abs(1)
scalar(1)
vector(temperature)
time(1)
temperature @
temperature @ "a"
temperature @ start
temperature[1m] @ end(
temperature offset x
temperature offset 1m offset 2m
1 offset 1m
1 @ 5
temperature[1m][1m]
line1 +
 foo bar
absent(1)
histogram_quantile(temperature, 0.5)
temperature or 1
1 and 2
on(temperature)
sum(1)
topk(1)
topk(1, 2)
predict_linear(temperature, 5)
group_left(a)
temperature * group_left(a) temperature
label_join(temperature)
temperature{a.b="c"}
{zone=""}
foo{__name__="bar"}
rate(temperature[5m]))
max_over_time(rate(temperature[5m]))
max_over_time((rate(temperature[5m]))[5m])
rate(temperature{zone="a"}[5m] offset 5m)[3m:1m] foo
"""
"""Refused in the same words, at the same place."""


def lines(text: str) -> list[str]:
    """Return the expressions of a block."""
    return [line for line in text.splitlines() if line]


ANSWERED = lines(SELECTORS + RANGES + SUBQUERIES + AGGREGATIONS + OPERATORS + FUNCTIONS + SYNTAX)
INSTANT_ONLY = lines("temperature[2m]\nhttp_requests_total[3m] offset 1m\nodd[1m] @ 1700001333.6\n"
                     '"a string"\nflaky[6m]\n(temperature * 2)[2m:30s]\nodd[2m:20s]')  # fmt: skip
ORDERED = [e for e in ANSWERED if e.startswith(("sort", "topk(", "bottomk("))]
"""Their instant answers have an order."""
