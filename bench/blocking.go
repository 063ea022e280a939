// Ping-pong alone, and beside 100 goroutines that wait for a command on a thread of their own.
package main

import (
	"os"
	"os/exec"
	"sync"
	"time"
)

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		panic(err)
	}
	return info.Size()
}

// Each command leaves one byte in path as its sleep begins.
func block(path string, width int, all *sync.WaitGroup) {
	all.Add(width)
	for i := 0; i < width; i++ {
		go func() {
			exec.Command("sh", "-c", "echo >>"+path+"; exec sleep 2").Run()
			all.Done()
		}()
	}
	limit := time.Now().Add(10 * time.Second)
	for size(path) < int64(width) && time.Now().Before(limit) {
		time.Sleep(10 * time.Millisecond)
	}
}

func main() {
	count, width := arg(1, 500000), arg(2, 100)
	alone := measure(count, roundTrips)
	file, err := os.CreateTemp("", "bench")
	if err != nil {
		panic(err)
	}
	file.Close()
	var all sync.WaitGroup
	block(file.Name(), width, &all)
	beside := measure(count, roundTrips)
	all.Wait()
	os.Remove(file.Name())
	report("blocking/alone", alone*1e9, "ns")
	report("blocking/beside", beside*1e9, "ns")
	report("blocking/slowdown", beside/alone, "times")
}
