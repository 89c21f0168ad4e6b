-- What running a database takes: checksums of the migrations that made it, and a way to read the
-- rows of all tenants for a backup. Runs as voicerag_owner with the schema of the extension on the
-- search path.

-- The owner sees every tenant in a transaction that asks for it (voicerag.all_tenants = 'on'), and
-- still none in any other. It could lift row-level security anyway, but only by locking the tables,
-- and not on a replica. Writers and readers stay bound to their tenant whatever they set.
DO $$
DECLARE
    wanted text;
BEGIN
    FOR wanted IN
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'voicerag'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relrowsecurity AND NOT c.relispartition
        ORDER BY 1
    LOOP
        EXECUTE format(
            'CREATE POLICY all_tenants ON voicerag.%I FOR SELECT TO voicerag_owner '
            'USING (current_setting(''voicerag.all_tenants'', true) = ''on'')', wanted);
    END LOOP;
END
$$;

-- SHA-256 of the file, in hexadecimal; written by the program, which refuses a database that other
-- files made.
ALTER TABLE voicerag.migrations ADD COLUMN checksum text;
