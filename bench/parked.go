// Many parked goroutines: what starting them costs, what they hold, how they end together.
package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

func park(ready chan bool, ch chan int, ctx context.Context, all *sync.WaitGroup) {
	ready <- true
	select {
	case <-ch:
	case <-ctx.Done():
	}
	all.Done()
}

func round(prefix string, n int) {
	ch, ready := make(chan int), make(chan bool, n)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	rss, t0 := status("VmRSS"), time.Now()
	all.Add(n)
	for i := 0; i < n; i++ {
		go park(ready, ch, ctx, &all)
	}
	for i := 0; i < n; i++ {
		<-ready
	}
	report(prefix+"start", time.Since(t0).Seconds()*1e3, "ms")
	report(prefix+"memory", float64(status("VmRSS")-rss)/float64(n), "KB/task")
	report(prefix+"threads", float64(status("Threads")), "threads")
	t1 := time.Now()
	cancel()
	all.Wait()
	report(prefix+"cancel", time.Since(t1).Seconds()*1e3, "ms")
}

func after(prefix string) {
	debug.FreeOSMemory()
	report(prefix+"threads-after", float64(status("Threads")), "threads")
	report(prefix+"memory-after", float64(status("VmRSS"))/1024, "MB")
}

func main() {
	count, rounds := arg(1, 10000), arg(2, 1)
	name := fmt.Sprintf("parked-%d/", count)
	report(name+"memory-before", float64(status("VmRSS"))/1024, "MB")
	for i := 1; i <= rounds; i++ {
		prefix := name
		if i > 1 {
			prefix += fmt.Sprint(i, "/")
		}
		round(prefix, count)
		after(prefix)
	}
}
