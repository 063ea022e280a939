// A round trip between the main goroutine and another.
package main

func main() {
	report("pingpong-main", measure(arg(1, 200000), roundTrips)*1e9, "ns")
}
