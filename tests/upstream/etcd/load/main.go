// SPDX-License-Identifier: Apache-2.0

// Load drives an etcd v3 server by etcd's own client as kube-apiserver writes: each client updates keys of its own by
// compare-and-swap on their mod revision, while a watch on another connection is to see every one of these writes, once and in order.
// It prints one line of JSON. etcd's benchmark has no such transaction, and its keys are binary, which kine cannot store.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type options struct {
	endpoint, prefix           string
	clients, connections, keys int
	value                      string
	duration                   time.Duration
}

// One applied write: its revision, when the client sent it and when it was told.
type write struct {
	revision    int64
	began, done time.Time
}

// What one client did.
type record struct {
	writes     []write
	errors     int
	conflicts  int
	firstError string
}

// What the watch saw.
type sight struct {
	mutex    sync.Mutex
	seen     map[int64]time.Time
	last     int64
	disorder int
	failure  string
}

type result struct {
	Writes     int     `json:"writes"`
	Seconds    float64 `json:"seconds"`
	Errors     int     `json:"errors"`
	Conflicts  int     `json:"conflicts"`
	FirstError string  `json:"firstError"`
	P50        float64 `json:"p50Ms"`
	P99        float64 `json:"p99Ms"`
	Missing    int     `json:"missing"`
	Disorder   int     `json:"disorder"`
	LagP50     float64 `json:"lagP50Ms"`
	LagP99     float64 `json:"lagP99Ms"`
	LagMax     float64 `json:"lagMaxMs"`
}

func connect(endpoint string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second})
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: %s: %v\n", endpoint, err)
		os.Exit(1)
	}
	return client
}

// Updates its keys in turn until ctx ends; a request that runs then is waited for.
func run(ctx context.Context, client *clientv3.Client, o options, number int) record {
	var out record
	revisions := make([]int64, o.keys)
	for i := 0; ctx.Err() == nil; i = (i + 1) % o.keys {
		key := fmt.Sprintf("%s%d/%d", o.prefix, number, i)
		began := time.Now()
		reply, err := client.Txn(context.Background()).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revisions[i])).
			Then(clientv3.OpPut(key, o.value)).
			Else(clientv3.OpGet(key)).Commit()
		done := time.Now()
		switch {
		case err != nil:
			out.errors++
			if out.firstError == "" {
				out.firstError = err.Error()
			}
			// Whether it was made is not known.
			if found, err := client.Get(context.Background(), key); err == nil && len(found.Kvs) == 1 {
				revisions[i] = found.Kvs[0].ModRevision
			}
		case reply.Succeeded:
			revisions[i] = reply.Header.Revision
			out.writes = append(out.writes, write{reply.Header.Revision, began, done})
		default:
			out.conflicts++
			revisions[i] = 0
			if kvs := reply.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
				revisions[i] = kvs[0].ModRevision
			}
		}
	}
	return out
}

// Returns once the watch is there.
func (s *sight) watch(ctx context.Context, client *clientv3.Client, prefix string) {
	s.seen = map[int64]time.Time{}
	channel := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-channel
	go func() {
		for response := range channel {
			now := time.Now()
			s.mutex.Lock()
			if err := response.Err(); err != nil && ctx.Err() == nil {
				s.failure = err.Error()
			}
			for _, event := range response.Events {
				if event.Kv.ModRevision <= s.last {
					s.disorder++
				}
				s.last = event.Kv.ModRevision
				s.seen[event.Kv.ModRevision] = now
			}
			s.mutex.Unlock()
		}
	}()
}

func (s *sight) missing(writes []write) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	missing := 0
	for _, w := range writes {
		if _, found := s.seen[w.revision]; !found {
			missing++
		}
	}
	return missing
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func main() {
	var o options
	var valueSize int
	flag.StringVar(&o.endpoint, "endpoint", "http://127.0.0.1:2379", "the server")
	flag.StringVar(&o.prefix, "prefix", "/registry/load/", "of all keys")
	flag.IntVar(&o.clients, "clients", 64, "that write at once")
	flag.IntVar(&o.connections, "connections", 8, "they share")
	flag.IntVar(&o.keys, "keys", 200, "of each client")
	flag.IntVar(&valueSize, "value-size", 256, "in bytes")
	flag.DurationVar(&o.duration, "duration", 8*time.Second, "of the load")
	flag.Parse()
	o.value = strings.Repeat("v", valueSize)

	var seen sight
	watching, stopWatching := context.WithCancel(context.Background())
	defer stopWatching()
	seen.watch(watching, connect(o.endpoint), o.prefix)

	clients := make([]*clientv3.Client, o.connections)
	for i := range clients {
		clients[i] = connect(o.endpoint)
	}
	records := make([]record, o.clients)
	ctx, stop := context.WithTimeout(context.Background(), o.duration)
	defer stop()
	began := time.Now()
	var all sync.WaitGroup
	for i := range records {
		all.Add(1)
		go func() {
			defer all.Done()
			records[i] = run(ctx, clients[i%len(clients)], o, i)
		}()
	}
	all.Wait()
	out := result{Seconds: time.Since(began).Seconds()}

	var writes []write
	for _, r := range records {
		writes = append(writes, r.writes...)
		out.Errors += r.errors
		out.Conflicts += r.conflicts
		if out.FirstError == "" {
			out.FirstError = r.firstError
		}
	}
	// What is on its way gets ten seconds without news.
	out.Missing = seen.missing(writes)
	for since := time.Now(); out.Missing > 0 && time.Since(since) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		if now := seen.missing(writes); now != out.Missing {
			out.Missing, since = now, time.Now()
		}
	}
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	if out.FirstError == "" {
		out.FirstError = seen.failure
	}
	var latencies, lags []float64
	for _, w := range writes {
		latencies = append(latencies, milliseconds(w.done.Sub(w.began)))
		if when, found := seen.seen[w.revision]; found {
			lags = append(lags, max(0, milliseconds(when.Sub(w.done))))
		}
	}
	sort.Float64s(latencies)
	sort.Float64s(lags)
	out.Writes, out.Disorder = len(writes), seen.disorder
	out.P50, out.P99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
	out.LagP50, out.LagP99, out.LagMax = quantile(lags, 0.5), quantile(lags, 0.99), quantile(lags, 1)
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}
