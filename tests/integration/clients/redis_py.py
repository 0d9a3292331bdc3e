# The ordinary use of redis-py, against the server on the port in the first argument.
import asyncio, sys, threading, time, redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])


def connect(**options):
    return redis.Redis(port=port, protocol=protocol, socket_timeout=10, **options)


r = connect()
t = connect(decode_responses=True)


def exists(command):
    found = command in t.command_list()
    if not found:
        print("absent:", command)
    return found


def until(what, check):
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def strings():
    assert t.flushall()
    assert t.set("a", "1", ex=100, nx=True)
    assert t.set("a", "2", nx=True) is None
    assert t.set("a", "2", get=True, keepttl=True) == "1"
    assert 0 < t.ttl("a") <= 100 and t.persist("a")
    assert t.incrby("a", 5) == 7 and t.incrbyfloat("a", 0.5) == 7.5
    assert t.mset({"b": "x", "c": "y"}) and t.mget("b", "c", "d") == ["x", "y", None]
    assert t.append("b", "yz") == 3 and t.getrange("b", 1, -1) == "yz"
    assert t.getdel("c") == "y" and t.exists("c") == 0 and t.type("b") == "string"
    try:
        t.incr("b")
    except redis.ResponseError as error:
        assert str(error) == "value is not an integer or out of range", error
    else:
        raise AssertionError("a word was counted up")


def binary():
    key, value = bytes(range(256)), bytes(reversed(range(256))) * 40_000
    assert r.set(key, value) and r.get(key) == value and r.strlen(key) == len(value)
    assert key in r.keys() and r.delete(key) == 1


def pipelines():
    pipe = t.pipeline(transaction=False)
    for n in range(2000):
        pipe.set(f"p{n}", n)
    assert pipe.execute() == [True] * 2000
    replies = t.pipeline().incr("p1").get("p2").incr("b").exists("p3").execute(raise_on_error=False)
    assert replies[:2] + replies[3:] == [2, "2", 1] and isinstance(replies[2], redis.ResponseError), replies


def transactions():
    t.set("stock", 3)
    with t.pipeline() as pipe:
        pipe.watch("stock")
        left = int(pipe.get("stock"))
        t.decr("stock")
        pipe.multi()
        pipe.set("stock", left - 1)
        try:
            pipe.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key had changed")
    # What is lost to others is tried again.
    def sell(pipe):
        left = int(pipe.get("stock"))
        pipe.multi()
        pipe.set("stock", left + 10)

    sellers = [threading.Thread(target=lambda: [connect().transaction(sell, "stock") for _ in range(20)]) for _ in range(3)]
    [seller.start() for seller in sellers]
    [seller.join() for seller in sellers]
    assert t.get("stock") == str(2 + 600)


def publish_subscribe():
    p = t.pubsub()
    p.subscribe("news")
    p.psubscribe("log.*")
    seen = []
    until("subscribed", lambda: (m := p.get_message(timeout=0.1)) and seen.append(m) or len(seen) == 2)
    assert t.publish("news", "one") == 1 and t.publish("log.x", "two") == 1 and t.publish("other", "-") == 0
    assert t.pubsub_numsub("news") == [("news", 1)] and t.pubsub_numpat() == 1 and t.pubsub_channels() == ["news"]
    until("messages", lambda: (m := p.get_message(timeout=0.1)) and seen.append(m) or len(seen) == 4)
    assert [(m["type"], m["pattern"], m["channel"], m["data"]) for m in seen[2:]] == [
        ("message", None, "news", "one"), ("pmessage", "log.*", "log.x", "two")], seen
    if protocol == 2:
        p.ping("are you there")
        until("pong", lambda: (m := p.get_message(timeout=0.1)) and m["type"] == "pong" and m["data"] == "are you there")
    p.unsubscribe()
    p.punsubscribe()
    until("unsubscribed", lambda: (p.get_message(timeout=0.1), not p.subscribed)[1])


def scans():
    t.flushdb()
    for n in range(500):
        t.set(f"scan:{n}", n)
    t.set("other", 1)
    assert set(t.scan_iter(match="scan:*", count=50)) == {f"scan:{n}" for n in range(500)}
    assert set(t.scan_iter(_type="string")) == set(t.keys())
    assert t.dbsize() == 501
    if exists("hscan"):
        t.hset("h", mapping={f"f{n}": n for n in range(700)})
        assert dict(t.hscan_iter("h")) == {f"f{n}": str(n) for n in range(700)}
        t.sadd("s", *range(700))
        assert set(t.sscan_iter("s")) == {str(n) for n in range(700)}
        t.zadd("z", {f"m{n}": n for n in range(700)})
        assert dict(t.zscan_iter("z")) == {f"m{n}": float(n) for n in range(700)}
        assert set(t.scan_iter(_type="hash")) == {"h"}


def collections():
    t.flushdb()
    if exists("lpush"):
        assert t.rpush("l", "a", "b", "c") == 3 and t.lrange("l", 0, -1) == ["a", "b", "c"]
        assert t.lpop("l", 2) == ["a", "b"] and t.lmove("l", "l2", "LEFT", "RIGHT") == "c"
    if exists("sadd"):
        assert t.sadd("s", "a", "b") == 2 and t.smembers("s") == {"a", "b"} and t.smismember("s", ["a", "x"]) == [1, 0]
    if exists("hset"):
        assert t.hset("h", mapping={"f": "v", "n": 1}) == 2 and t.hgetall("h") == {"f": "v", "n": "1"}
        assert t.hincrby("h", "n", 4) == 5 and t.hmget("h", "f", "x") == ["v", None]
    if exists("zadd"):
        assert t.zadd("z", {"a": 1, "b": 2.5}) == 2 and t.zscore("z", "b") == 2.5
        pairs = [(name, score) for name, score in t.zrange("z", 0, -1, withscores=True)]
        assert pairs == [("a", 1.0), ("b", 2.5)], pairs
        assert t.zpopmax("z")[0] in (("b", 2.5), "b", ["b", 2.5])


def blocking_pops():
    if not exists("blpop"):
        return
    began = time.monotonic()
    assert t.blpop("queue", timeout=0.2) is None and time.monotonic() - began >= 0.19
    def feed():
        until("a client waits", lambda: int(t.info("clients")["blocked_clients"]) >= 1)
        connect().rpush("queue", "job")
    feeder = threading.Thread(target=feed)
    feeder.start()
    assert tuple(connect(decode_responses=True).blpop(["none", "queue"], timeout=10)) == ("queue", "job")
    feeder.join()


def reconnects():
    other = connect(decode_responses=True)
    before = other.client_id()
    assert t.client_kill_filter(_id=before) == 1
    assert other.set("after", "kill") and other.client_id() != before


def cached():
    # redis-py's own cache wants redis-server 7.4; this is what it is made of.
    c = connect(single_connection_client=True)
    t.set("cached", 1)
    told = []
    if protocol == 3:
        c.connection._parser.set_invalidation_push_handler(lambda message: told.append(message[1]))
        assert c.client_tracking_on()
        receive = c.ping
    else:
        p = r.pubsub()
        p.subscribe("__redis__:invalidate")
        until("subscribed", lambda: p.get_message(timeout=0.1))
        assert c.client_tracking_on(clientid=client_of(p))
        receive = lambda: (m := p.get_message(timeout=0.1)) and told.append(m["data"])
    assert c.get("cached") == b"1"
    t.set("cached", 2)
    until("invalidated", lambda: (receive(), told == [[b"cached"]])[1])
    assert c.get("cached") == b"2"
    t.flushall()
    until("all invalidated", lambda: (receive(), len(told) == 2)[1])
    assert told[1] is None and c.client_tracking_off()


def client_of(p):
    port_of_it = p.connection._sock.getsockname()[1]
    return next(int(c["id"]) for c in t.client_list() if c["addr"].endswith(f":{port_of_it}"))


def operator():
    t.client_setname("worker")
    assert t.client_getname() == "worker" and any(c["name"] == "worker" for c in t.client_list())
    assert t.config_set("slowlog-log-slower-than", 0) and t.config_get("slowlog-*")["slowlog-log-slower-than"] == "0"
    t.set("slow", 1)
    assert any(entry["command"] in (b"SET slow 1", "SET slow 1") for entry in t.slowlog_get()), t.slowlog_get()
    t.config_set("slowlog-log-slower-than", 10000)
    assert t.info()["redis_version"] == "7.0.15" and t.info("server")["tcp_port"] == port
    assert t.memory_usage("slow") > 0
    if exists("object"):
        assert t.object("encoding", "slow") == "int"
    assert isinstance(t.time()[0], int) and t.echo("x") == "x" and t.ping()
    assert t.acl_whoami() == "default" and 0 < t.command_count() <= len(t.command_list())
    if exists("restore"):
        assert r.restore("copy", 0, r.dump("slow")) and t.get("copy") == "1"
    with t.monitor() as monitor:
        connect().set("watched", 1)
        until("monitored", lambda: "SET watched 1" in monitor.next_command()["command"])


async def asynchronous():
    import redis.asyncio as aio
    a = aio.Redis(port=port, protocol=protocol, decode_responses=True)
    async with a.pipeline() as pipe:
        assert await pipe.set("async", 1).incr("async").execute() == [True, 2]
    assert await asyncio.gather(*(a.incr("async") for _ in range(50))) and await a.get("async") == "52"
    async with a.pubsub() as p:
        await p.psubscribe("a*")
        await p.get_message(timeout=5)
        await a.publish("abc", "x")
        message = await p.get_message(timeout=5)
        assert message and message["data"] == "x", message
    await a.aclose()


for use in [strings, binary, pipelines, transactions, publish_subscribe, scans, collections, blocking_pops, reconnects, cached, operator]:
    print(use.__name__, flush=True)
    use()
asyncio.run(asynchronous())
print("all went well")
