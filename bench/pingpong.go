// A round trip between two goroutines over two unbuffered channels.
package main

func main() {
	done := make(chan float64)
	go func() { done <- measure(arg(1, 1000000), roundTrips) }()
	report("pingpong", <-done*1e9, "ns")
}
