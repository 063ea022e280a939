// What every benchmark shares: its arguments, the clock, one line of output per figure.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// The i-th argument of the program as an integer.
func arg(i, otherwise int) int {
	if i < len(os.Args) {
		if n, err := strconv.Atoi(os.Args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

// Seconds per operation of body(n), which carries out n of them, after a warm-up.
func measure(n int, body func(int)) float64 {
	body(n/10 + 1)
	start := time.Now()
	body(n)
	return time.Since(start).Seconds() / float64(n)
}

// Round trips with another goroutine over two unbuffered channels.
func roundTrips(n int) {
	there, back := make(chan int), make(chan int)
	go func() {
		for i := 0; i < n; i++ {
			back <- <-there
		}
	}()
	for i := 0; i < n; i++ {
		there <- i
		<-back
	}
}

func report(name string, value float64, unit string) {
	fmt.Printf("%s %.3f %s\n", name, value, unit)
}

// A number of /proc/self/status: "VmRSS" in KiB, "Threads".
func status(field string) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == field+":" {
			n, _ := strconv.Atoi(words[1])
			return n
		}
	}
	return 0
}
