// go-zookeeper against an ensemble: nodes, versions, access lists, multi, watches, locks, and a kill.
// Usage: main CONNECT-STRING DIRECTORY-OF-THE-ENSEMBLE
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(what string, holds bool) {
	if !holds {
		panic(what)
	}
}

func connect(servers []string) *zk.Conn {
	conn, _, err := zk.Connect(servers, 10*time.Second, zk.WithLogInfo(false), zk.WithLogger(silent{}))
	must(err)
	return conn
}

type silent struct{}

func (silent) Printf(string, ...interface{}) {}

// again repeats what a lost connection interrupted.
func again(what func() error) {
	end := time.Now().Add(20 * time.Second)
	for {
		err := what()
		if err == nil {
			return
		}
		check(fmt.Sprintf("no success within 20 s: %v", err), time.Now().Before(end))
		time.Sleep(50 * time.Millisecond)
	}
}

func event(events <-chan zk.Event, kind zk.EventType, path string) {
	select {
	case got := <-events:
		check(fmt.Sprintf("expected %v %s, got %v", kind, path, got), got.Type == kind && got.Path == path)
	case <-time.After(10 * time.Second):
		panic("no event for " + path)
	}
}

func main() {
	servers := strings.Split(os.Args[1], ",")
	one, two := connect(servers), connect(servers)
	open := zk.WorldACL(zk.PermAll)

	_, err := one.Create("/go", []byte("root"), 0, open)
	must(err)
	_, err = one.Create("/go", nil, 0, open)
	check("a node exists once", errors.Is(err, zk.ErrNodeExists))
	_, err = one.Create("/go/none/x", nil, 0, open)
	check("a parent is needed", errors.Is(err, zk.ErrNoNode))
	name, err := one.Create("/go/s-", nil, zk.FlagSequence, open)
	must(err)
	check("sequence "+name, name == "/go/s-0000000000")
	_, err = one.CreateContainer("/go/container", nil, 4, open)
	must(err)
	stat, err := one.Set("/go", []byte("new"), 0)
	must(err)
	check("version", stat.Version == 1)
	_, err = one.Set("/go", nil, 0)
	check("old version", errors.Is(err, zk.ErrBadVersion))
	check("not empty", errors.Is(one.Delete("/go", -1), zk.ErrNotEmpty))

	_, _, created, err := two.ExistsW("/go/watched")
	must(err)
	_, err = one.Create("/go/watched", nil, zk.FlagEphemeral, open)
	must(err)
	event(created, zk.EventNodeCreated, "/go/watched")
	_, _, changed, err := two.GetW("/go/watched")
	must(err)
	_, _, children, err := two.ChildrenW("/go")
	must(err)
	_, err = one.Set("/go/watched", []byte("x"), -1)
	must(err)
	event(changed, zk.EventNodeDataChanged, "/go/watched")
	must(one.Delete("/go/watched", -1))
	event(children, zk.EventNodeChildrenChanged, "/go")

	results, err := one.Multi(
		&zk.CreateRequest{Path: "/go/m", Acl: open},
		&zk.CreateRequest{Path: "/go/m/in", Acl: open},
		&zk.SetDataRequest{Path: "/go/m", Data: []byte("1"), Version: 0},
		&zk.CheckVersionRequest{Path: "/go/m", Version: 1},
		&zk.DeleteRequest{Path: "/go/m/in", Version: -1})
	must(err)
	check("five results", len(results) == 5 && results[0].String == "/go/m")
	_, err = one.Multi(&zk.DeleteRequest{Path: "/go/m", Version: -1}, &zk.CheckVersionRequest{Path: "/go", Version: 9})
	check("a refused multi", err != nil)
	exists, _, err := one.Exists("/go/m")
	must(err)
	check("nothing of it happened", exists)

	must(one.AddAuth("digest", []byte("user:secret")))
	_, err = one.Create("/go/mine", []byte("x"), 0, zk.DigestACL(zk.PermAll, "user", "secret"))
	must(err)
	// It may be at a server that has not heard of it.
	_, err = two.Sync("/go/mine")
	must(err)
	_, _, err = two.Get("/go/mine")
	check("others may not read", errors.Is(err, zk.ErrNoAuth))
	acl, _, err := one.GetACL("/go/mine")
	must(err)
	check("digest", acl[0].Scheme == "digest" && strings.HasPrefix(acl[0].ID, "user:"))

	var inside, total int
	var guard sync.Mutex
	var group sync.WaitGroup
	for _, conn := range []*zk.Conn{one, two, one, two} {
		group.Add(1)
		go func(conn *zk.Conn) {
			defer group.Done()
			for round := 0; round < 10; round++ {
				lock := zk.NewLock(conn, "/go/lock", open)
				must(lock.Lock())
				guard.Lock()
				inside++
				check("alone", inside == 1)
				total++
				inside--
				guard.Unlock()
				must(lock.Unlock())
			}
		}(conn)
	}
	group.Wait()
	check("rounds", total == 40)

	session := one.SessionID()
	_, err = one.Create("/go/alive", nil, zk.FlagEphemeral, open)
	must(err)
	pid, err := os.ReadFile(os.Args[2] + "/coordinator-1.pid")
	must(err)
	must(exec.Command("kill", "-9", strings.TrimSpace(string(pid))).Run())
	for round := 0; round < 20; round++ {
		again(func() error { _, err := one.Set("/go", []byte(fmt.Sprint(round)), -1); return err })
	}
	check("the session lives", one.SessionID() == session)
	again(func() error {
		_, err := two.Sync("/go")
		return err
	})
	exists, _, err = two.Exists("/go/alive")
	must(err)
	check("and its node", exists)
	one.Close()
	two.Close()
	fmt.Println("go-zookeeper: all held")
}
