"""What the made-up prompts are about: words and phrases for the places in their forms."""

from __future__ import annotations


def _phrases(text: str) -> tuple[str, ...]:
    """The phrases of a text, divided by commas."""
    return tuple(" ".join(each.split()) for each in text.split(","))


THINGS = _phrases("""
    volcanoes, honey bees, the human heart, glaciers, black holes, inflation, the stock market,
    coral reefs, the Roman Empire, jazz, chess, photosynthesis, gravity, vaccines, the Renaissance,
    solar panels, electric cars, batteries, the internet, cloud computing, databases, machine
    learning, neural networks, encryption, bridges, airplanes, submarines, railways, elevators,
    microwave ovens, washing machines, coffee, tea, chocolate, olive oil, cheese, pasta, sushi,
    spices, soup, vegetables, apples, oranges, rice, potatoes, salt, sugar, vitamins, protein,
    sleep, dreams, memory, stress, anxiety, meditation, yoga, running, swimming, football,
    basketball, tennis, cycling, climbing, hiking, camping, fishing, gardening, composting, roses,
    orchids, oak trees, mushrooms, forests, deserts, oceans, rivers, lakes, rain, thunderstorms,
    tornadoes, earthquakes, tsunamis, the seasons, the solar system, Mars, Jupiter, comets, stars,
    galaxies, telescopes, microscopes, cells, DNA, evolution, dinosaurs, fossils, whales, dolphins,
    sharks, penguins, owls, eagles, cats, dogs, horses, elephants, wolves, ants, spiders,
    butterflies, snakes, frogs, democracy, constitutions, elections, taxes, insurance, mortgages,
    budgets, savings, retirement, pensions, contracts, patents, copyright, advertising, marketing,
    branding, customer service, negotiation, leadership, teamwork, time management, procrastination,
    motivation, public speaking, job interviews, cover letters, resumes, remote teams, emails,
    meetings, project management, software testing, version control, web design, mobile phones,
    cameras, photography, painting, sculpture, poetry, novels, plays, opera, the piano, the guitar,
    drums, singing, dancing, films, animation, video games, board games, puzzles, magic tricks,
    languages, grammar, spelling, translation, dictionaries, libraries, museums, universities,
    homework, exams, note-taking, fractions, prime numbers, probability, statistics, algebra,
    geometry, calculus, logic, atoms, molecules, acids, metals, plastic, glass, paper, concrete,
    wood, steel, magnets, electricity, light, sound, heat, energy, nuclear power, wind turbines,
    oil, gas, coal, recycling, climate change, pollution, water supply, sewers, cities, villages,
    houses, roofs, windows, kitchens, furniture, carpets, paint, tools, locks, clocks, calendars,
    maps, compasses, passports, hotels, beaches, islands, markets, supermarkets, restaurants,
    hospitals, doctors, dentists, nurses, medicine, allergies, the common cold, headaches, back
    pain, blood pressure, the immune system, the brain, the lungs, the liver, skin, hair, teeth,
    eyes, ears, parenting, toddlers, teenagers, grandparents, friendship, marriage, weddings,
    birthdays, holidays, festivals, gifts, manners, honesty, courage, kindness, gratitude, patience,
    forgiveness, happiness, loneliness, grief, anger, philosophy, ethics, religion, mythology,
    the Middle Ages, ancient Egypt, ancient Greece, the Silk Road, the Industrial Revolution, the
    First World War, the Cold War, the United Nations, the European Union, space travel, satellites,
    robots, drones, 3D printing, virtual reality, cryptocurrency, social media, newspapers, radio,
    television, podcasts, blogs
""")
"""Subjects that one can ask about."""

TASKS = _phrases("""
    learn to play the guitar, lose some weight, save money every month, learn Spanish, write a
    novel, clean a leather jacket, repair a flat tire, paint a bedroom, grow herbs on a balcony,
    cook rice, bake a chocolate cake, make a simple salad, prepare for an exam, prepare for a job
    interview, ask for a raise, move to another city, choose a laptop, back up my files, build a
    website, start a small business, organise a birthday party, train a puppy, introduce two cats,
    sleep better, drink more water, stop biting my nails, run five kilometres, get up early,
    read more books, remember names, take better photos, edit a video, set up a home network,
    remove a coffee stain, sharpen a knife, fix a dripping tap, hang a picture, build a bookshelf,
    plan a road trip, pack a suitcase, travel with a baby, find a flat, make new friends, apologise
    to a colleague, resign from a job, write a letter of complaint, write a thank-you note, plan a
    weekly menu, cook for ten people, store vegetables, make coffee, brew green tea, invest a small
    sum, read a balance sheet, compare two phone plans, teach a child to read, help with homework,
    calm a crying baby, talk to a teenager, visit an old friend, take care of a cactus, plant a
    tree, attract birds to a garden, get rid of ants, keep a diary, learn to draw, learn to swim,
    stretch after running, lift heavy boxes, change a light bulb, unblock a sink, iron a shirt,
    sew on a button, wash wool, tie a tie, wrap a present, give a short talk, lead a meeting, take
    notes, manage my email, use a spreadsheet, protect my privacy, choose an umbrella
""")
"""What somebody may want to do: behind "How do I"."""

PEOPLE = _phrases("""
    a fisherman, a young painter, an old clockmaker, a nurse, two sisters, a lost dog, a robot, a
    dragon, a little girl, a boy who cannot sleep, a musician, a teacher, an astronaut, a detective,
    a baker, a king without a crown, a cat, a farmer, a pilot, a librarian, a thief, a gardener, a
    grandmother, a ghost, a fox, a tailor, a sailor, a scientist, a bus driver, twins, a magician,
    a shy student, a shopkeeper, a snowman, a talking tree, a retired spy, a chess player
""")
"""Who a story may be about."""

EVENTS = _phrases("""
    finds an old map, misses the last bus, meets a stranger, learns a secret, loses a ring, plants a
    strange seed, hears music at night, receives a parcel, opens a small shop, gets lost in a
    forest, sees snow for the first time, wins a prize, breaks a promise, saves a friend, travels
    to the sea, finds a door in the wall, wakes up in another time, adopts a puppy, learns to fly,
    writes a song, builds a boat, keeps a diary, goes to the market, makes a mistake, forgives an
    enemy, solves a riddle, discovers a star, repairs an old radio, moves to the city
""")
"""What may happen in a story."""

NAMES = _phrases("""
    Emma, Liam, Olivia, Noah, Ava, Lucas, Mia, Ethan, Sofia, Daniel, Maria, Thomas, Anna, Peter,
    Julia, Martin, Laura, Simon, Clara, Victor, Nina, Oscar, Helen, Robert, Alice, David, Sarah,
    Michael, Karen, James, Linda, Kevin, Rosa, Ahmed, Fatima, Chen, Yuki, Priya, Carlos, Ingrid
""")

SURNAMES = _phrases("""
    Smith, Johnson, Brown, Miller, Davis, Garcia, Wilson, Anderson, Taylor, Moore, Jackson, White,
    Harris, Clark, Lewis, Walker, Hall, Young, King, Wright, Hill, Green, Baker, Nelson, Carter,
    Mitchell, Roberts, Turner, Phillips, Campbell, Parker, Evans, Edwards, Collins, Stewart, Morris
""")

PLACES = _phrases("""
    London, Paris, Berlin, Madrid, Rome, Vienna, Dublin, Oslo, Chicago, Boston, Toronto, Sydney,
    Tokyo, Cairo, Mumbai, Lima, Denver, Austin, Seattle, Bristol, Leeds, Hamburg, Lyon, Porto,
    Milan, Prague, Athens, Zurich, Geneva, Montreal, Riverside, Greenfield, Oakwood, Hillview
""")

TRADES = _phrases("""
    teacher, nurse, engineer, baker, lawyer, doctor, farmer, designer, accountant, journalist,
    chef, mechanic, carpenter, architect, dentist, programmer, photographer, electrician, manager,
    plumber, pharmacist, translator, gardener, pilot, painter, secretary, scientist
""")

GOODS = _phrases("""
    desk lamp, office chair, notebook, backpack, coffee maker, toaster, keyboard, monitor, water
    bottle, raincoat, tent, sleeping bag, headphones, printer, bookshelf, kettle, blender, wall
    clock, mirror, rug, cushion, garden hose, ladder, drill, paint brush, bicycle pump, helmet,
    gloves, scarf, running shoes
""")

FUNCTIONS = _phrases("""
    reverses a string, checks whether a number is prime, computes a factorial, counts the vowels in
    a text, sorts a list of numbers, finds the largest number in a list, removes duplicates from a
    list, merges two dictionaries, reads a file line by line, computes the average of a list,
    checks whether a word is a palindrome, converts Celsius to Fahrenheit, generates Fibonacci
    numbers, finds the longest word in a sentence, flattens a nested list, counts words in a text,
    validates an email address, rolls two dice, draws a triangle of stars, groups names by their
    first letter, finds common elements of two lists, computes compound interest, parses a date,
    writes a list to a CSV file, sums the digits of a number, searches a sorted list, rotates a
    list, finds the median, computes the greatest common divisor, capitalises every word
""")
"""What a program may do: behind "Write a function that"."""
