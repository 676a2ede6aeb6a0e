// Curator's recipes and caches against an ensemble. Usage: CuratorClient CONNECT-STRING [DIRECTORY-OF-THE-ENSEMBLE];
// with the directory the server that the client is connected to is killed on the way.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.data.Stat;

public final class CuratorClient {
    private static CuratorFramework client(String connect) throws Exception {
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(connect, 10_000, 10_000, new ExponentialBackoffRetry(100, 10));
        client.start();
        check("connected", client.blockUntilConnected(20, TimeUnit.SECONDS));
        return client;
    }

    private static void check(String what, boolean holds) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static void equal(String what, Object expected, Object got) {
        check(what + ": expected " + expected + ", got " + got, expected.equals(got));
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void eventually(String what, Condition condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (!condition.holds()) {
            check(what + " within 20 s", System.nanoTime() < end);
            Thread.sleep(20);
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws Exception {
        try (CuratorFramework one = client(arguments[0]); CuratorFramework two = client(arguments[0])) {
            nodes(one);
            transactions(one);
            locks(one, two);
            leaders(one, two);
            caches(one, two);
            counters(one, two);
            others(one, two);
            discovery(one);
            tracker(one, two);
            if (arguments.length > 1) {
                failover(one, two, arguments[1]);
            }
        }
        System.out.println("curator: all held");
        System.exit(0);
    }

    private static void nodes(CuratorFramework one) throws Exception {
        Stat stat = new Stat();
        one.create().storingStatIn(stat).creatingParentContainersIfNeeded().forPath("/cur/containers/a", bytes("x"));
        equal("stat of create2", 1, stat.getDataLength());
        equal("parent", 1, one.checkExists().forPath("/cur/containers").getNumChildren());
        String name = one.create().withProtection().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath("/cur/containers/p-");
        check("protected name " + name, name.contains("_c_") && name.endsWith("0000000001"));
        one.create().orSetData().forPath("/cur/containers/a", bytes("yy"));
        equal("data", "yy", new String(one.getData().storingStatIn(stat).forPath("/cur/containers/a")));
        equal("version", 1, stat.getVersion());
        one.setData().withVersion(1).forPath("/cur/containers/a", bytes("z"));
        one.delete().guaranteed().forPath("/cur/containers/a");
        one.sync().forPath("/cur");
        equal("acl", 31, one.getACL().forPath("/cur").get(0).getPerms());
    }

    private static void transactions(CuratorFramework one) throws Exception {
        var results = one.transaction().forOperations(
                one.transactionOp().create().forPath("/cur/t", bytes("1")),
                one.transactionOp().create().forPath("/cur/t/in", bytes("2")),
                one.transactionOp().setData().withVersion(0).forPath("/cur/t", bytes("3")),
                one.transactionOp().check().withVersion(1).forPath("/cur/t"));
        equal("results", 4, results.size());
        try {
            one.transaction().forOperations(
                    one.transactionOp().delete().forPath("/cur/t/in"),
                    one.transactionOp().check().withVersion(7).forPath("/cur/t"));
            throw new AssertionError("a refused transaction must fail");
        } catch (org.apache.zookeeper.KeeperException.BadVersionException expected) {
            check("nothing of it happened", one.checkExists().forPath("/cur/t/in") != null);
        }
        one.delete().deletingChildrenIfNeeded().forPath("/cur/t");
    }

    private static void locks(CuratorFramework one, CuratorFramework two) throws Exception {
        AtomicInteger inside = new AtomicInteger();
        AtomicInteger total = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        for (CuratorFramework client : List.of(one, two, one, two)) {
            Thread thread = new Thread(() -> {
                InterProcessMutex mutex = new InterProcessMutex(client, "/cur/mutex");
                try {
                    for (int round = 0; round < 10; round++) {
                        mutex.acquire();
                        check("alone", inside.incrementAndGet() == 1);
                        total.incrementAndGet();
                        inside.decrementAndGet();
                        mutex.release();
                    }
                } catch (Throwable failure) {
                    failures.add(failure);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        check("no failure: " + failures, failures.isEmpty());
        equal("rounds", 40, total.get());
        InterProcessReadWriteLock readWrite = new InterProcessReadWriteLock(one, "/cur/rw");
        InterProcessReadWriteLock other = new InterProcessReadWriteLock(two, "/cur/rw");
        readWrite.readLock().acquire();
        check("two readers", other.readLock().acquire(5, TimeUnit.SECONDS));
        check("no writer beside readers", !other.writeLock().acquire(200, TimeUnit.MILLISECONDS));
        readWrite.readLock().release();
        other.readLock().release();
        check("a writer alone", other.writeLock().acquire(5, TimeUnit.SECONDS));
        other.writeLock().release();
        InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(one, "/cur/semaphore", 2);
        Lease first = semaphore.acquire();
        Lease second = semaphore.acquire();
        check("no third lease", semaphore.acquire(200, TimeUnit.MILLISECONDS) == null);
        first.close();
        second.close();
    }

    private static void leaders(CuratorFramework one, CuratorFramework two) throws Exception {
        LeaderLatch first = new LeaderLatch(one, "/cur/latch", "one");
        LeaderLatch second = new LeaderLatch(two, "/cur/latch", "two");
        first.start();
        first.await();
        second.start();
        eventually("both take part", () -> second.getParticipants().size() == 2);
        check("one leads", first.hasLeadership() && !second.hasLeadership());
        first.close();
        check("the other follows", second.await(10, TimeUnit.SECONDS));
        second.close();
        CountDownLatch led = new CountDownLatch(2);
        List<LeaderSelector> selectors = new ArrayList<>();
        for (CuratorFramework client : List.of(one, two)) {
            LeaderSelector selector = new LeaderSelector(client, "/cur/selector", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework leader) {
                    led.countDown();
                }
            });
            selector.start();
            selectors.add(selector);
        }
        check("each led once", led.await(20, TimeUnit.SECONDS));
        selectors.forEach(LeaderSelector::close);
    }

    private static void caches(CuratorFramework one, CuratorFramework two) throws Exception {
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        CuratorCache cache = CuratorCache.build(one, "/cur/cache");
        CuratorCacheListener listener = CuratorCacheListener.builder()
                .forCreates(node -> seen.add("+" + node.getPath()))
                .forChanges((old, node) -> seen.add("=" + node.getPath()))
                .forDeletes(node -> seen.add("-" + node.getPath()))
                .build();
        cache.listenable().addListener(listener);
        cache.start();
        two.create().creatingParentsIfNeeded().forPath("/cur/cache/a/b", bytes("1"));
        eventually("creations are seen", () -> seen.contains("+/cur/cache/a/b"));
        two.setData().forPath("/cur/cache/a/b", bytes("2"));
        eventually("the cache has the new data",
                () -> cache.get("/cur/cache/a/b").map(node -> new String(node.getData()).equals("2")).orElse(false));
        two.delete().deletingChildrenIfNeeded().forPath("/cur/cache/a");
        eventually("deletions are seen", () -> seen.contains("-/cur/cache/a") && seen.contains("-/cur/cache/a/b"));
        cache.close();
        AtomicInteger fired = new AtomicInteger();
        PersistentWatcher watcher = new PersistentWatcher(one, "/cur/watched", true);
        watcher.getListenable().addListener(event -> fired.incrementAndGet());
        watcher.start();
        eventually("the persistent watch is set", () -> {
            two.create().orSetData().creatingParentsIfNeeded().forPath("/cur/watched/x");
            return fired.get() > 0;
        });
        watcher.close();
        one.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(
                (org.apache.zookeeper.Watcher) event -> fired.incrementAndGet()).forPath("/cur");
        one.watchers().removeAll().forPath("/cur");
    }

    private static void counters(CuratorFramework one, CuratorFramework two) throws Exception {
        DistributedAtomicLong first = new DistributedAtomicLong(one, "/cur/long", new ExponentialBackoffRetry(20, 10));
        DistributedAtomicLong second = new DistributedAtomicLong(two, "/cur/long", new ExponentialBackoffRetry(20, 10));
        for (int round = 0; round < 20; round++) {
            check("increment", first.increment().succeeded() && second.increment().succeeded());
        }
        equal("sum", 40L, first.get().postValue());
        SharedCount count = new SharedCount(one, "/cur/count", 3);
        SharedCount other = new SharedCount(two, "/cur/count", 0);
        count.start();
        other.start();
        count.setCount(9);
        eventually("the count is shared", () -> other.getCount() == 9);
        count.close();
        other.close();
    }

    private static void others(CuratorFramework one, CuratorFramework two) throws Exception {
        PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, "/cur/persistent", bytes("p"));
        node.start();
        check("created", node.waitForInitialCreate(10, TimeUnit.SECONDS));
        two.delete().forPath("/cur/persistent");
        eventually("it is made again", () -> two.checkExists().forPath("/cur/persistent") != null);
        node.close();
        SimpleDistributedQueue queue = new SimpleDistributedQueue(one, "/cur/queue");
        for (int item = 0; item < 5; item++) {
            queue.offer(bytes("item " + item));
        }
        SimpleDistributedQueue consumer = new SimpleDistributedQueue(two, "/cur/queue");
        for (int item = 0; item < 5; item++) {
            equal("in order", "item " + item, new String(consumer.take()));
        }
        GroupMember first = new GroupMember(one, "/cur/group", "one");
        GroupMember second = new GroupMember(two, "/cur/group", "two");
        first.start();
        second.start();
        eventually("both are members", () -> first.getCurrentMembers().size() == 2);
        first.close();
        eventually("one is left", () -> second.getCurrentMembers().size() == 1);
        second.close();
        Thread thread = new Thread(() -> {
            try {
                new DistributedDoubleBarrier(two, "/cur/barrier", 2).enter();
            } catch (Exception failure) {
                throw new IllegalStateException(failure);
            }
        });
        thread.start();
        check("both enter", new DistributedDoubleBarrier(one, "/cur/barrier", 2).enter(20, TimeUnit.SECONDS));
        thread.join();
        one.create().withTtl(3_600_000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath("/cur/ttl");
        one.getConfig().forEnsemble();
    }

    private static void discovery(CuratorFramework one) throws Exception {
        ServiceInstance<String> instance =
                ServiceInstance.<String>builder().name("service").address("127.0.0.1").port(80).payload("x").build();
        try (ServiceDiscovery<String> discovery = ServiceDiscoveryBuilder.builder(String.class)
                .client(one).basePath("/cur/services").thisInstance(instance).build()) {
            discovery.start();
            equal("instances", 1, discovery.queryForInstances("service").size());
        }
    }

    /** EnsembleTracker: a client's list of servers follows the ensemble, as far as its members name client ports. */
    private static void tracker(CuratorFramework one, CuratorFramework two) throws Exception {
        String before = new String(one.getConfig().forEnsemble());
        String last = before.lines().filter(line -> line.startsWith("server.3=")).findFirst().orElseThrow();
        check("members name client ports: " + before, last.contains(";"));
        String port = last.substring(last.lastIndexOf(':') + 1);
        one.reconfig().leaving("3").forEnsemble();
        for (CuratorFramework client : List.of(one, two)) {
            eventually("the server that left is not tried any more",
                    () -> client.getZookeeperClient().getCurrentConnectionString().split(",").length == 2
                            && !client.getZookeeperClient().getCurrentConnectionString().contains(":" + port));
        }
        one.reconfig().joining(last).forEnsemble();
        for (CuratorFramework client : List.of(one, two)) {
            eventually("the server that came back is known",
                    () -> client.getZookeeperClient().getCurrentConnectionString().contains(":" + port));
        }
    }

    private static void failover(CuratorFramework one, CuratorFramework two, String directory) throws Exception {
        long session = one.getZookeeperClient().getZooKeeper().getSessionId();
        one.create().withMode(CreateMode.EPHEMERAL).forPath("/cur/mine");
        InterProcessMutex mutex = new InterProcessMutex(one, "/cur/held");
        mutex.acquire();
        String pid = java.nio.file.Files.readString(java.nio.file.Path.of(directory, "coordinator-1.pid")).trim();
        new ProcessBuilder("kill", "-9", pid).inheritIO().start().waitFor();
        eventually("writes go on", () -> {
            one.create().orSetData().forPath("/cur/after", bytes("x"));
            two.create().orSetData().forPath("/cur/after", bytes("y"));
            return true;
        });
        equal("the session lives", session, one.getZookeeperClient().getZooKeeper().getSessionId());
        check("and its znode", two.checkExists().forPath("/cur/mine") != null);
        check("and its lock", !new InterProcessMutex(two, "/cur/held").acquire(200, TimeUnit.MILLISECONDS));
        mutex.release();
        one.create().withTtl(60_000).withMode(CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL).forPath("/cur/s-");
    }
}
