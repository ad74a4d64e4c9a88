// SPDX-License-Identifier: Apache-2.0

// Load drives an etcd v3 server by etcd's own client as kube-apiserver writes: each client updates keys of its own by
// compare-and-swap on their mod revision, while a watch on another connection is to see every one of these writes, once and in order.
// It prints one line of JSON. etcd's benchmark has no such transaction, and its keys are binary, which kine cannot store.
//
// The server may be killed and started again meanwhile: requests that fail are counted, but what was acknowledged must be there and must
// have been told.
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
	twins                      bool          // Each transaction writes a second key, which must be told with the first.
	progress                   time.Duration // Between requests for progress; 0: none.
}

// One applied write: its revision, when the client sent it and when it was told.
type write struct {
	revision    int64
	began, done time.Time
}

// What one client did.
type record struct {
	writes     []write
	known      map[string]int64 // The last revision of each key that was told.
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
	torn     int   // Transactions that came in more than one response.
	promised int64 // All up to here has been told, the server said.
	early    int   // Events that came after a promise that there are no more of them.
	promises int
	failure  string
}

type result struct {
	Writes     int     `json:"writes"`
	Seconds    float64 `json:"seconds"`
	Errors     int     `json:"errors"`
	Conflicts  int     `json:"conflicts"`
	FirstError string  `json:"firstError"`
	WatchError string  `json:"watchError"`
	P50        float64 `json:"p50Ms"`
	P99        float64 `json:"p99Ms"`
	Missing    int     `json:"missing"`
	Disorder   int     `json:"disorder"`
	Torn       int     `json:"torn"`
	Promises   int     `json:"promises"`
	Early      int     `json:"early"`
	Lost       int     `json:"lost"`
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
	out := record{known: map[string]int64{}}
	revisions := make([]int64, o.keys)
	for i := 0; ctx.Err() == nil; i = (i + 1) % o.keys {
		key := fmt.Sprintf("%s%d/%d", o.prefix, number, i)
		puts := []clientv3.Op{clientv3.OpPut(key, o.value)}
		if o.twins {
			puts = append(puts, clientv3.OpPut(key+"/twin", o.value))
		}
		began := time.Now()
		reply, err := client.Txn(context.Background()).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", revisions[i])).
			Then(puts...).
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
			out.known[key] = reply.Header.Revision
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
func (s *sight) watch(ctx context.Context, client *clientv3.Client, o options) {
	s.seen = map[int64]time.Time{}
	channel := client.Watch(ctx, o.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-channel
	go func() {
		for response := range channel {
			s.take(response, o.twins, ctx.Err() != nil)
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.failure == "" && ctx.Err() == nil {
			s.failure = "the watch ended"
		}
	}()
	if o.progress == 0 {
		return
	}
	go func() {
		for ctx.Err() == nil {
			time.Sleep(o.progress)
			_ = client.RequestProgress(ctx) // Without a server there is nobody to ask.
		}
	}()
}

func (s *sight) take(response clientv3.WatchResponse, twins, ending bool) {
	now := time.Now()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := response.Err(); err != nil && !ending {
		s.failure = err.Error()
	}
	if response.IsProgressNotify() {
		s.promises++
		s.promised = max(s.promised, response.Header.Revision)
	}
	keys := map[int64]int{}
	for _, event := range response.Events {
		revision := event.Kv.ModRevision
		keys[revision]++
		if again := keys[revision] > 1; revision < s.last || (revision == s.last && !again) {
			s.disorder++
		}
		if revision <= s.promised {
			s.early++
		}
		s.last = revision
		s.seen[revision] = now
	}
	for _, count := range keys {
		if (twins && count != 2) || (!twins && count != 1) {
			s.torn++
		}
	}
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

// How many acknowledged writes are neither there nor followed by a newer one.
func lost(client *clientv3.Client, o options, records []record) (int, error) {
	there := map[string]int64{}
	found, err := client.Get(context.Background(), o.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	for _, kv := range found.Kvs {
		there[string(kv.Key)] = kv.ModRevision
	}
	count := 0
	for _, r := range records {
		for key, revision := range r.known {
			if there[key] < revision {
				count++
			}
		}
	}
	return count, nil
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
	flag.BoolVar(&o.twins, "twins", false, "write two keys in each transaction")
	flag.DurationVar(&o.progress, "progress", 0, "between requests for progress; 0: none")
	flag.Parse()
	o.value = strings.Repeat("v", valueSize)

	var seen sight
	watching, stopWatching := context.WithCancel(context.Background())
	defer stopWatching()
	seen.watch(watching, connect(o.endpoint), o)

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
	gone, err := lost(clients[0], o, records)
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: reading in the end: %v\n", err)
		os.Exit(1)
	}
	seen.mutex.Lock()
	defer seen.mutex.Unlock()
	out.Lost, out.Torn, out.Promises, out.Early = gone, seen.torn, seen.promises, seen.early
	out.WatchError = seen.failure
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
